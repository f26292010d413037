// Sends one transaction by the SDK of Sui: prints its digest, or the message of the error that its user sees.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [, , folder, url, key, data, signature] = process.argv;
const { resolve } = createRequire(folder + '/package.json');
const { SuiGraphQLClient } = await import(pathToFileURL(resolve('sui-2/graphql')).href);
const client = new SuiGraphQLClient({ url, network: 'testnet', headers: { 'X-Aegis-Key': key } });
try {
  const done = await client.executeTransaction({ transaction: Buffer.from(data, 'base64'), signatures: [signature] });
  console.log(JSON.stringify({ digest: (done.Transaction ?? done.transaction ?? done.FailedTransaction)?.digest }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message }));
}
