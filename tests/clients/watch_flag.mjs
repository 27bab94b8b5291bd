// Prints a flag's value when the OpenFeature web SDK is ready and each time it says that flags have changed, a line of
// JSON each; it never polls, so that all it learns comes by the event stream. Ends with its standard input.
//
//   node watch_flag.mjs '{"url": …, "key": …, "flag": "word"}'
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
globalThis.EventSource = require('eventsource').EventSource; // as a browser has it
const { OpenFeature, ProviderEvents } = require('@openfeature/web-sdk');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');

const { url, key, flag } = JSON.parse(process.argv[2]);
const provider = new OFREPWebProvider({
  baseUrl: url,
  pollInterval: 0,
  headers: [['Authorization', `Bearer ${key}`]],
});
const client = OpenFeature.getClient();
const print = () => console.log(JSON.stringify(client.getStringDetails(flag, '?')));
OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, print);
await OpenFeature.setProviderAndWait(provider, { targetingKey: 'u-1' });
print();
process.stdin.on('end', () => process.exit(0)).resume();
