// One call by an official SDK for JavaScript: node clients.mjs CLIENT whole|stream URL KEY. Prints what it got, as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , client, how, url, key] = process.argv;
const streamed = how === "stream";
const messages = [{ role: "user", content: "Hello there" }];
const { resolve } = createRequire(`${process.env.SDKS}/clients.cjs`);
const load = async (name) => import(pathToFileURL(resolve(name)).href);
const all = async (stream) => {
  const found = [];
  for await (const part of stream) found.push(part);
  return found;
};
const got = async (answer) => (streamed ? all(await answer) : await answer);

// The AI SDK: its text, and what it says of the usage.
const ai = async (model) => {
  const { generateText, streamText } = await load("ai");
  if (!streamed) {
    const found = await generateText({ model, messages });
    return [found.text, found.usage];
  }
  let failed;
  const found = streamText({ model, messages, onError: ({ error }) => (failed = error) });
  const parts = await all(found.textStream);
  if (failed) throw failed;
  return [parts, await found.usage];
};

const CLIENTS = {
  "openai chat": async () => {
    const { OpenAI } = await load("openai");
    const chat = new OpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat.completions;
    return got(chat.create({ model: "gpt-5.5", messages, stream: streamed }));
  },
  "openai responses": async () => {
    const { OpenAI } = await load("openai");
    const { responses } = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
    return got(responses.create({ model: "gpt-5.5", input: "Hello there", stream: streamed }));
  },
  anthropic: async () => {
    const { Anthropic } = await load("@anthropic-ai/sdk");
    const api = new Anthropic({ baseURL: url, apiKey: key }).messages;
    return got(api.create({ model: "claude-opus-4-6", max_tokens: 900, messages, stream: streamed }));
  },
  genai: async () => {
    const { GoogleGenAI } = await load("@google/genai");
    const { models } = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } });
    const asked = { model: "gemini-3.8-flash", contents: "Hello there" };
    const found = await got(streamed ? models.generateContentStream(asked) : models.generateContent(asked));
    return [found].flat().map(({ candidates, usageMetadata }) => [candidates, usageMetadata]);
  },
  "ai openai": async () => {
    const { createOpenAI } = await load("@ai-sdk/openai");
    return ai(createOpenAI({ baseURL: `${url}/v1`, apiKey: key })("gpt-5.5"));
  },
  "ai anthropic": async () => {
    const { createAnthropic } = await load("@ai-sdk/anthropic");
    return ai(createAnthropic({ baseURL: `${url}/v1`, apiKey: key })("claude-opus-4-6"));
  },
  "ai google": async () => {
    const { createGoogleGenerativeAI } = await load("@ai-sdk/google");
    return ai(createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: key })("gemini-3.8-flash"));
  },
};

try {
  console.log(JSON.stringify(await CLIENTS[client]()));
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
