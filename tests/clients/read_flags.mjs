// Reads flags through the OpenFeature server SDK and prints their details, a JSON object by flag key.
//
//   node read_flags.mjs '{"url": …, "key": …, "context": {…}, "reads": [["reviews", "Boolean", false], …]}'
import { createRequire } from 'node:module';

// from the folder that npm installed into, which is the working directory
const require = createRequire(`${process.cwd()}/`);
const { OpenFeature } = require('@openfeature/server-sdk');
const { OFREPProvider } = require('@openfeature/ofrep-provider');

const { url, key, context, reads } = JSON.parse(process.argv[2]);
await OpenFeature.setProviderAndWait(
  new OFREPProvider({ baseUrl: url, headers: [['Authorization', `Bearer ${key}`]] }),
);
const client = OpenFeature.getClient();
const details = {};
for (const [flag, type, fallback] of reads) {
  details[flag] = await client[`get${type}Details`](flag, fallback, context);
}
console.log(JSON.stringify(details));
await OpenFeature.close();
