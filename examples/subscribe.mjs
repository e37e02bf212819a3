// Follows the predictions of a publisher: node subscribe.mjs [ENDPOINT] [SESSION]
// Writes a JSON object a line: {"prediction": ...}, {"event": ...}, or {"gap": ...} for what can't be had any more.
// The protocol is in docs/protocol.md. With a SESSION it ends when that session has.
import { Dealer, Subscriber } from "zeromq"

const [endpoint = "tcp://127.0.0.1:5556", session] = process.argv.slice(2)
const prefixes = [`prediction/${session ?? ""}`, `session/${session ?? ""}`]
const wanted = (topic) => (session === undefined ? prefixes.some((p) => topic.startsWith(p)) : prefixes.includes(topic))
const ANSWER_MS = 2000

const known = new Map() // topic -> {sequence, number}: the last that has gone out
let epoch, covered = 0, replay, replayAddress, requests = 0
let done = false

const write = (what) => process.stdout.write(JSON.stringify(what) + "\n")

function deliver(topic, header, payload) {
  known.set(topic, { sequence: header.sequence, number: header.global_sequence })
  const body = JSON.parse(payload)
  write(topic.startsWith("session/") ? { event: body } : { prediction: body })
  if (session !== undefined && topic.startsWith("session/") && ["ended", "failed"].includes(body.event)) done = true
}

function gap(topic, first, last) {
  if (first <= last) write({ gap: { publisher_epoch: epoch, topic, first, last } })
}

// One page after the other of what came after a position; null where nobody answers.
async function ask(after, until, topics) {
  const messages = [], missing = []
  let upto, lost = false
  while (replay) {
    const request = ++requests
    await replay.send(JSON.stringify({ request, after, ...(until && { until }), prefixes: topics }))
    let answer
    do {
      try {
        answer = await replay.receive()
      } catch {
        return null // nobody has answered in time
      }
    } while (JSON.parse(answer[0]).request !== request)
    const page = JSON.parse(answer[0])
    if (page.refused === "denied") throw new Error("this key may not read that")
    if (page.refused) {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      continue
    }
    for (let i = 1; i < answer.length; i += 3) messages.push(answer.slice(i, i + 3))
    missing.push(...page.missing)
    lost ||= page.lost
    upto = page.upto
    if (!page.more) return { messages, missing, upto, lost }
    after = page.upto
  }
  return null
}

function enter(next) {
  if (next === epoch) return
  epoch = next
  covered = 0
  known.clear()
}

function fill(answer) {
  if (answer.lost) write({ gap: { publisher_epoch: epoch, topic: null, first: covered + 1, last: null } })
  const superseded = new Set()
  for (const one of answer.missing)
    if (one.why === "superseded")
      for (let n = one.first; n <= one.last; n++) superseded.add(`${one.publisher_epoch} ${one.topic} ${n}`)
  const upTo = (topic, last) => {
    const from = known.get(topic)?.sequence
    if (from === undefined) return
    for (let n = from + 1; n <= last; n++) if (!superseded.has(`${epoch} ${topic} ${n}`)) gap(topic, n, n)
  }
  for (const [topicFrame, headerFrame, payload] of answer.messages) {
    const topic = topicFrame.toString(), header = JSON.parse(headerFrame)
    if (!wanted(topic)) continue
    enter(header.publisher_epoch)
    if (header.sequence <= (known.get(topic)?.sequence ?? 0)) continue
    upTo(topic, header.sequence - 1)
    deliver(topic, header, payload)
  }
  for (const one of answer.missing) {
    if (!wanted(one.topic) || one.publisher_epoch !== epoch || one.last <= (known.get(one.topic)?.sequence ?? 0)) continue
    upTo(one.topic, one.last)
    known.set(one.topic, { sequence: one.last, number: answer.upto.global_sequence })
  }
  enter(answer.upto.publisher_epoch)
}

async function catchUp() {
  const answer = await ask({ publisher_epoch: epoch, global_sequence: covered }, null, prefixes)
  if (!answer) return
  fill(answer)
  covered = Math.max(covered, answer.upto.global_sequence)
}

async function heartbeat(beat) {
  const url = endpoint.match(/^tcp:\/\/(.*):(\d+)$/)
  const address = url
    ? `tcp://${url[1]}:${beat.replay?.[url[2]] ?? Object.values(beat.replay ?? {})[0]}`
    : `${endpoint}.replay`
  if (address !== replayAddress) {
    replay?.close()
    replay = new Dealer({ linger: 0, receiveTimeout: ANSWER_MS, sendTimeout: ANSWER_MS })
    replay.connect((replayAddress = address))
  }
  if (epoch === undefined) {
    epoch = beat.publisher_epoch
    covered = beat.global_sequence
    return
  }
  // A sequence of 0 comes with each new connection: something may have been sent while there was none.
  const missed = Object.entries(beat.topics ?? {}).some(([topic, n]) => wanted(topic) && (known.get(topic)?.sequence ?? 0) < n)
  if (beat.publisher_epoch !== epoch || missed || (beat.sequence === 0 && beat.global_sequence > covered)) await catchUp()
  else if (!beat.more) covered = Math.max(covered, beat.global_sequence)
}

async function message(topic, header, payload) {
  if (epoch === undefined) epoch = header.publisher_epoch
  if (header.publisher_epoch !== epoch) await catchUp()
  const last = known.get(topic)
  if (header.publisher_epoch !== epoch || header.sequence <= (last?.sequence ?? 0)) return
  if (last && header.sequence > last.sequence + 1) {
    const until = { publisher_epoch: epoch, global_sequence: header.global_sequence - 1 }
    const answer = await ask({ publisher_epoch: epoch, global_sequence: last.number }, until, [topic])
    if (answer) fill(answer)
    gap(topic, known.get(topic).sequence + 1, header.sequence - 1) // what the answer does not tell of
  }
  deliver(topic, header, payload)
}

const inbound = new Subscriber({ linger: 0, heartbeatInterval: 1000, heartbeatTimeout: 3000 })
inbound.subscribe(...prefixes, "heartbeat")
inbound.connect(endpoint)
for await (const frames of inbound) {
  const topic = frames[0].toString()
  if (topic === "heartbeat") await heartbeat(JSON.parse(frames[1]))
  else if (frames.length === 3 && wanted(topic)) await message(topic, JSON.parse(frames[1]), frames[2])
  if (done) break
}
inbound.close()
replay?.close()
