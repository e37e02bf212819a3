// Follows the predictions of a publisher: node subscribe.mjs [ENDPOINT] [SESSION] [NAME.key PUBLISHER.pub]
// Writes a JSON object a line: {"prediction" or "event": ..., "header": ...}, or {"gap": ...} for what can't be had any more.
// The protocol is in docs/protocol.md. With a SESSION it ends when that session has; "" stands for all.
import { readFileSync } from "node:fs"
import { Dealer, Subscriber } from "zeromq"

const [endpoint = "tcp://127.0.0.1:5556", name, keyFile, publisherFile] = process.argv.slice(2)
const session = name || undefined
const prefixes = [`prediction/${session ?? ""}`, `session/${session ?? ""}`]
const wanted = (topic) => (session === undefined ? prefixes.some((p) => topic.startsWith(p)) : prefixes.includes(topic))
const ANSWER_MS = 2000
const ATTEMPTS = 3

const known = new Map() // topic -> {sequence, number}: the last of this epoch that has come or been told
let epoch // of the publisher that is followed
let covered // the global sequence up to which everything has come or been told; undefined before the first heartbeat
let beats // the last heartbeat that is counted
let partFollows = false
let owed = false // something was asked for and nobody has answered
let previous, ended // where the epoch before ended, as its successor or it itself has said
let replay, replayAddress, requests = 0
let done = false

const write = (what) => process.stdout.write(JSON.stringify(what) + "\n")
const at = (global_sequence) => ({ publisher_epoch: epoch, global_sequence })
const same = (a, b) => a?.publisher_epoch === b?.publisher_epoch && a?.global_sequence === b?.global_sequence

function curve() {
  if (!keyFile) return {}
  const own = JSON.parse(readFileSync(keyFile)), publisher = JSON.parse(readFileSync(publisherFile))
  return { curvePublicKey: own.public, curveSecretKey: own.secret, curveServerKey: publisher.public }
}

function deliver({ topic, header, payload }) {
  if (header.publisher_epoch === epoch) known.set(topic, { sequence: header.sequence, number: header.global_sequence })
  const body = JSON.parse(payload)
  write(topic.startsWith("session/") ? { event: body, header } : { prediction: body, header })
  if (session !== undefined && topic.startsWith("session/") && ["ended", "failed"].includes(body.event)) done = true
}

// Two frames: topic, and header and payload in JSON, between them a line feed.
function opened([topic, frame]) {
  const end = frame.indexOf("\n")
  return { topic: topic.toString(), header: JSON.parse(frame.subarray(0, end)), payload: frame.subarray(end + 1) }
}

function enter(next) {
  if (next === epoch) return
  epoch = next
  covered = 0
  beats = undefined
  known.clear()
}

// Gaps for what is missing of a topic up to a sequence, but for what is superseded.
function tell(topic, last, ranges) {
  const gap = (first, end) => first <= end && write({ gap: { publisher_epoch: epoch, topic, first, last: end } })
  const own = ranges.filter((range) => range.topic === topic).sort((a, b) => a.first - b.first)
  let next = known.has(topic) ? known.get(topic).sequence + 1 : Math.min(last + 1, ...own.map((range) => range.first))
  for (const range of own) {
    if (range.why !== "superseded" || range.last < next || range.first > last) continue
    gap(next, range.first - 1)
    next = range.last + 1
  }
  gap(next, last)
  if (last > (known.get(topic)?.sequence ?? 0)) known.set(topic, { sequence: last, number: known.get(topic)?.number ?? 0 })
}

// One page after the other of what is asked for; null where nobody answers.
async function ask(question) {
  const messages = [], missing = []
  let { after } = question, lost = false
  for (let attempt = 0, first = requests + 1; replay && attempt < ATTEMPTS; attempt++) {
    let page, rest
    try {
      await replay.send(JSON.stringify({ ...question, after, request: ++requests }))
      do [page, ...rest] = await replay.receive()
      while ((page = JSON.parse(page)).request < first) // the answer to a request before
    } catch {
      continue // none in time
    }
    if (page.refused === "denied") throw new Error("this key may not read that")
    if (page.refused) {
      await new Promise((resolve) => setTimeout(resolve, 1000))
      attempt--
      continue
    }
    for (let i = 0; i < rest.length; i += 2) messages.push(opened(rest.slice(i, i + 2)))
    missing.push(...page.missing)
    lost ||= page.lost
    if (!page.more) return { messages: messages.filter(({ topic }) => wanted(topic)), missing, upto: page.upto, lost }
    after = page.upto
    attempt = -1
    first = requests + 1
  }
  return null
}

// What an answer brings, in order: of each epoch the messages with the gaps before them, then the gaps behind.
function fill({ messages, missing, upto, lost }, after) {
  if (lost && !same(after, previous) && !same(after, ended)) {
    const last = previous?.publisher_epoch === after.publisher_epoch ? previous.global_sequence : null
    write({ gap: { publisher_epoch: after.publisher_epoch, topic: null, first: after.global_sequence + 1, last } })
  }
  const epochs = new Set([...messages.map(({ header }) => header), ...missing].map((one) => one.publisher_epoch))
  for (const one of [...epochs].sort((a, b) => a - b)) {
    if (one < epoch) continue
    enter(one)
    const ranges = missing.filter((range) => range.publisher_epoch === one && wanted(range.topic))
    for (const message of messages) {
      const { topic, header } = message
      if (header.publisher_epoch !== one || header.sequence <= (known.get(topic)?.sequence ?? 0)) continue
      tell(topic, header.sequence - 1, ranges)
      deliver(message)
    }
    for (const range of ranges) if (range.last > (known.get(range.topic)?.sequence ?? 0)) tell(range.topic, range.last, ranges)
  }
  enter(upto.publisher_epoch)
}

// All that was sent since everything was known. `told`: last sequences that a heartbeat names.
async function catchUp(told = []) {
  owed = true
  const after = at(covered), answer = await ask({ after, prefixes })
  if (!answer) return
  owed = false
  fill(answer, after)
  covered = Math.max(covered, answer.upto.global_sequence)
  if (epoch === after.publisher_epoch)
    for (const [topic, sequence] of told) if (sequence > (known.get(topic)?.sequence ?? 0)) tell(topic, sequence, [])
}

// Where it begins: the newest message of each topic, then what follows.
async function begin(beat) {
  if (epoch !== beat.publisher_epoch) enter(beat.publisher_epoch)
  covered = beat.global_sequence
  beats = beat.sequence || undefined
  const answer = await ask({ after: at(0), prefixes, latest: true })
  for (const message of answer?.messages ?? [])
    if (!known.has(message.topic) && (message.header.publisher_epoch !== epoch || message.header.global_sequence <= covered))
      deliver(message)
}

async function heartbeat(beat) {
  const url = endpoint.match(/^tcp:\/\/(.*):(\d+)$/)
  const address = url
    ? `tcp://${url[1]}:${beat.replay?.[url[2]] ?? Object.values(beat.replay ?? {})[0]}`
    : `${endpoint}.replay`
  if (address !== replayAddress) {
    replay?.close()
    replay = new Dealer({ linger: 0, receiveTimeout: ANSWER_MS, sendTimeout: ANSWER_MS, ...curve() })
    replay.connect((replayAddress = address))
  }
  previous = beat.previous
  if (covered === undefined) return begin(beat)
  const told = Object.entries(beat.topics ?? {}).filter(([topic]) => wanted(topic))
  const missed = told.filter(([topic, sequence]) => (known.get(topic)?.sequence ?? 0) < sequence)
  // A sequence of 0 comes with each new connection: something may have been sent while there was none. Where one is left
  // out, or none has been counted yet, one may have been lost that would have told.
  const leftOut = beat.sequence > 0 && (beats === undefined || beat.sequence !== beats + (partFollows ? 0 : 1))
  if (beat.publisher_epoch === epoch && beat.sequence > 0) [beats, partFollows] = [beat.sequence, beat.more ?? false]
  const unknown = (beat.sequence === 0 || leftOut) && beat.global_sequence > covered
  if (owed || beat.publisher_epoch !== epoch || missed.length || unknown) await catchUp(missed)
  else if (!beat.more) covered = Math.max(covered, beat.global_sequence)
  if (beat.closing && covered >= beat.global_sequence) ended = { ...at(beat.global_sequence) }
}

async function message(one) {
  const { topic, header } = one
  epoch ??= header.publisher_epoch
  if (header.publisher_epoch !== epoch && covered !== undefined) await catchUp()
  const last = known.get(topic)
  if (header.publisher_epoch !== epoch || header.sequence <= (last?.sequence ?? 0)) return
  // Of a topic that is not known yet all has been missed that came after everything was known.
  const from = last ? last.number : header.global_sequence <= covered ? undefined : covered
  if (from !== undefined && header.sequence > (last?.sequence ?? 0) + 1) {
    const after = at(from)
    const answer = await ask({ after, until: at(header.global_sequence - 1), prefixes: [topic] })
    if (answer) {
      const before = answer.missing.filter((range) => range.topic === topic && range.first < header.sequence)
      const missing = before.map((range) => ({ ...range, last: Math.min(range.last, header.sequence - 1) }))
      fill({ ...answer, missing, messages: answer.messages.filter((m) => m.topic === topic) }, after)
    }
    if (known.has(topic)) tell(topic, header.sequence - 1, []) // what the answer does not tell of
  }
  deliver(one)
}

const inbound = new Subscriber({ linger: 0, heartbeatInterval: 1000, heartbeatTimeout: 3000, ...curve() })
inbound.subscribe(...prefixes, "heartbeat")
inbound.connect(endpoint)
for await (const frames of inbound) {
  const topic = frames[0].toString()
  if (topic === "heartbeat") await heartbeat(JSON.parse(frames[1]))
  else if (frames.length === 2 && wanted(topic)) await message(opened(frames))
  if (done) break
}
inbound.close()
replay?.close()
