// Sends messages with the published Node client of Segment, as a bank's own server would.
//
//   node segment_node.mjs HOST WRITE_KEY PLAN
//
// PLAN: `six` = one message of each type; a number = so many track calls. Errors go to standard output as JSON lines.

import { Analytics } from '@segment/analytics-node'

const [host, writeKey, plan] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, path: '/v1/batch', flushInterval: 100, maxRetries: 5 })
analytics.on('error', (error) => console.log(JSON.stringify({ code: error.code, reason: String(error.reason) })))

if (plan === 'six') {
  analytics.identify({ userId: 'u1', anonymousId: 'a1', traits: { email: 'one@example.com' } })
  analytics.track({ userId: 'u1', event: 'purchase', properties: { amount: 12.5 } })
  analytics.alias({ previousId: 'a1', userId: 'u1' })
  analytics.group({ userId: 'u1', groupId: 'g1', traits: { plan: 'gold' } })
  analytics.page({ userId: 'u1', category: 'shop', name: 'cards' })
  analytics.screen({ userId: 'u1', category: 'app', name: 'home' })
} else {
  for (let number = 0; number < Number(plan); number += 1) {
    analytics.track({ userId: `u${number}`, event: 'purchase' })
  }
}
await analytics.closeAndFlush({ timeout: 20000 })
