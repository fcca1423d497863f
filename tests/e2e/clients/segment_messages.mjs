// Sends messages with the published Node client of Segment, as a plan on standard input says.
//
//   node segment_messages.mjs HOST WRITE_KEY
//
// Standard input: one JSON array per line: the method of the client and its message. Errors go to standard output.

import { createInterface } from 'node:readline'
import { Analytics } from '@segment/analytics-node'

const [host, writeKey] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, path: '/v1/batch', flushInterval: 100, maxRetries: 10 })
analytics.on('error', (error) => console.log(JSON.stringify({ code: error.code, reason: String(error.reason) })))

for await (const line of createInterface({ input: process.stdin })) {
  const [method, message] = JSON.parse(line)
  if (message.timestamp) message.timestamp = new Date(message.timestamp)
  analytics[method](message)
}
await analytics.closeAndFlush({ timeout: 60000 })
