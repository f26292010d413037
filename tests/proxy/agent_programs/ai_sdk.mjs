// An agent of Vercel's AI SDK with one tool, on Anthropic's API: node ai_sdk.mjs TASK
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { resolve } = createRequire(`${process.env.SDKS}/clients.cjs`);
const load = async (name) => import(pathToFileURL(resolve(name)).href);
const { generateText, jsonSchema, stepCountIs, tool } = await load("ai");
const { createAnthropic } = await load("@ai-sdk/anthropic");

const inputSchema = jsonSchema({ type: "object", properties: { name: { type: "string" } }, required: ["name"] });
const read_file = tool({ description: "Read a file.", inputSchema, execute: ({ name }) => readFileSync(name, "utf8") });
const anthropic = createAnthropic({ baseURL: `${process.env.ANTHROPIC_BASE_URL}/v1` });
const found = await generateText({
  model: anthropic("claude-haiku-4-5"), prompt: process.argv[2], tools: { read_file }, stopWhen: stepCountIs(5),
});
console.log(found.text);
