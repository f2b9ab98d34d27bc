#!/usr/bin/env node
// The package with real parts, as a developer meets it: a fresh Laravel application follows the package's README, word for
// word, from nothing to a linked session, a message with its ack in the database and a QR on a page. Then what must hold
// when things go wrong. Runs inside `wafleet-services run`, which brings RabbitMQ, Redis and MariaDB.
import assert from 'node:assert/strict'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import puppeteer from 'puppeteer-core'
import { bundle } from './bundle.mjs'
import { stop, stopAll, until } from './processes.mjs'
import { Proxy } from './proxy.mjs'
import { Pusher } from './pusher.mjs'
import { steps } from './readme.mjs'
import { Stage } from './stage.mjs'

const ANNA = '4915112345678'
const BERT = '4915187654321'
const BACKLOG = 60
const began = Date.now()

async function step(name, work) {
  const from = Date.now()
  try {
    await work()
  } catch (error) {
    error.message = `${name}: ${error.message}`
    throw error
  }
  console.log(`ok  ${name} (${((Date.now() - from) / 1000).toFixed(1)} s)`)
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const stage = await Stage.set()
const app = { key: 'shop-key', secret: 'shop-secret', id: 'shop' }
let pusher = await new Pusher(app).listen()
let browser, consumer, session
const pages = {}

const row = (table, where) => stage.sql(`SELECT * FROM ${table} WHERE ${where}`)[0]
const count = (table, where = '1') => Number(stage.sql(`SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`)[0].n)
const consume = async () => {
  consumer = stage.serve('consumer', ['php', 'artisan', 'whatsapp:consume'])
  await until('the consumer consumes', () => consumer.output.includes('consuming'))
}
/** A request of the page's user, from the page. */
const ask = (page, method, path, body) => page.evaluate(async (method, path, body) => {
  // The token of the page's own login: another login would end that session under requests of the page that are on their
  // way, and their answers would bring back a cookie of nobody.
  const token = new URLSearchParams(location.search).get('csrf')
  const answer = await fetch(path, { method, headers: { Accept: 'application/json', 'Content-Type': 'application/json', 'X-CSRF-TOKEN': token }, body: body && JSON.stringify(body) })
  return { status: answer.status, body: await answer.json().catch(() => null) }
}, method, path, body)

try {
  await step('a fleet is running', async () => stage.fleet())

  await step('the README installs, connects and builds the application', async () => {
    stage.application({ REVERB_APP_KEY: app.key, REVERB_APP_SECRET: app.secret, REVERB_APP_ID: app.id, REVERB_URL: `http://127.0.0.1:${pusher.port}` })
    const given = {
      WHATSAPP_AMQP_URL: stage.amqp, WHATSAPP_COMMAND_KEYS: stage.keys.commands, WHATSAPP_EVENT_KEYS: stage.keys.events,
      WHATSAPP_QUEUE: 'shop.whatsapp', WHATSAPP_BROADCASTING: 'reverb',
    }
    const done = { run: 0, file: 0, append: 0 }
    for (const { kind, path, text } of steps(join(stage.repository, 'protocol/laravel/README.md'), 'Get started')) {
      done[kind]++
      if (kind === 'run' && text.startsWith('npm install')) {
        // What it names is what this test installed.
        const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url)))
        for (const name of text.split(' ').slice(2)) assert.ok(name in dependencies, `${name} is not among the packages here`)
      } else if (kind === 'run' && text.endsWith('whatsapp:consume')) {
        await consume()
      } else if (kind === 'run') {
        const output = await stage.shell(text)
        if (text.endsWith('whatsapp:check')) {
          for (const part of ['the fleet answers (worker w1) and our keys fit', 'agree about the time', 'Everything is as it should be.']) assert.ok(output.includes(part), output)
        }
      } else {
        mkdirSync(dirname(join(stage.app, path)), { recursive: true })
        const mine = path === '.env' ? text.replace(/^(\w+)=.*$/gm, (_, name) => `${name}=${given[name] ?? assert.fail(`${name} is unknown here`)}`) : text
        if (kind === 'file') writeFileSync(join(stage.app, path), mine)
        else appendFileSync(join(stage.app, path), `\n${mine}`)
      }
    }
    assert.ok(done.run >= 9 && done.file >= 4 && done.append >= 3, JSON.stringify(done))
    for (const published of ['config/whatsapp.php', 'resources/js/vendor/whatsapp/useWhatsAppSession.js', 'vendor/composer/installed.json']) {
      assert.ok(existsSync(join(stage.app, published)), `${published} is missing`)
    }
    // The consumer was started before the listener of step 5 was written.
    await stop(consumer)
    await consume()
    stage.sql("INSERT INTO workspaces (id, name) VALUES (1, 'one'), (2, 'two')")
    stage.sql("INSERT INTO users (id, workspace_id, name) VALUES (1, 1, 'Ines'), (2, 2, 'Otto')")
    await bundle(join(stage.app, 'resources/js/WhatsAppLink.vue'), join(stage.app, 'public/page.bundle.js'))
    writeFileSync(join(stage.app, 'public/page.html'), '<!doctype html><meta charset="utf-8"><div id="app"></div><script src="/page.bundle.js"></script>')
    const port = await freePort()
    stage.serve('web', ['php', '-S', `127.0.0.1:${port}`, '-t', 'public'])
    stage.web = `http://127.0.0.1:${port}`
    await until('the application answers', () => fetch(`${stage.web}/login/1`).then((answer) => answer.ok, () => false))
  })

  /** Opens the page as a user, showing a session of a workspace. */
  const open = async (user, { uuid, session_id: sessionId, workspace_id: workspaceId }) => {
    const context = await browser.createBrowserContext()
    const page = await context.newPage()
    page.refused = []
    page.on('response', (response) => response.status() === 403 && page.refused.push(new URL(response.url()).pathname))
    await page.goto(`${stage.web}/login/${user}`)
    const csrf = await page.evaluate(() => document.body.textContent)
    await page.goto(`${stage.web}/page.html?${new URLSearchParams({ key: app.key, port: pusher.port, csrf, uuid, sessionId, workspaceId })}`)
    return page
  }
  const text = (page) => page.evaluate(() => document.querySelector('#app').textContent)

  await step('the QR is on the page, and a phone can read it', async () => {
    browser = await puppeteer.launch({
      executablePath: process.env.WAFLEET_CHROMIUM_PATH ?? '/usr/lib/chromium/chromium', headless: true, userDataDir: join(stage.work, 'browser'),
      args: ['--disable-dev-shm-usage', ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
    })
    const first = await open(1, { uuid: 'none', session_id: 'none', workspace_id: 1 })
    const linked = await ask(first, 'POST', '/whatsapp/sessions')
    assert.equal(linked.status, 200, JSON.stringify(linked))
    session = linked.body
    pages.ines = await open(1, session)
    pages.otto = await open(2, session)
    await stage.far('phone', { number: ANNA, name: 'Anna' })
    await stage.far('qr', { within_ms: 60_000 })
    const onShow = Date.now()
    const read = await until('the page shows the QR', () => pages.ines.evaluate(() => window.scan()))
    const { code: qr } = await stage.far('qr', { within_ms: 1000 })
    assert.equal(read, qr)
    console.log(`    ${Date.now() - onShow} ms from the QR in WhatsApp's page to the QR in the other browser`)
    assert.match(await text(pages.ines), /^\d+ s$/, 'it counts down')
    await stage.far('scan', { number: ANNA, code: read })
  })

  await step('then it is connected, in the browser and in the database', async () => {
    await until('the page says connected', async () => (await text(pages.ines)) === `Linked with ${ANNA}`)
    await until('the row says connected', () => row('whatsapp_sessions', `uuid = '${session.uuid}'`).status === 'connected')
    const heard = await pages.ines.evaluate(() => window.heard.filter(({ event }) => event.startsWith('WhatsApp')))
    const positions = heard.map(({ data }) => data.seq)
    assert.deepEqual(positions, [...positions].sort((a, b) => a - b), 'in order')
    const { qr } = await ask(pages.ines, 'GET', `/whatsapp/sessions/${session.uuid}`).then(({ body }) => body)
    assert.equal(qr, null)
  })

  await step('who belongs to another workspace gets 403 and sees nothing', async () => {
    await until('the other page was refused', () => pages.otto.refused.includes('/broadcasting/auth') && pages.otto.refused.includes(`/whatsapp/sessions/${session.uuid}`))
    assert.deepEqual(await pages.otto.evaluate(() => window.heard.map(({ event }) => event).filter((event) => event.startsWith('WhatsApp'))), [])
    assert.equal(await text(pages.otto), 'initializing')
    assert.equal((await ask(pages.otto, 'POST', `/whatsapp/sessions/${session.uuid}/messages`, { to: BERT, text: 'spam' })).status, 403)
    assert.equal(count('whatsapp_messages'), 0)
  })

  await step('a message is sent and its acks are in the database', async () => {
    await stage.far('phone', { number: BERT, name: 'Bert' })
    const sent = await ask(pages.ines, 'POST', `/whatsapp/sessions/${session.uuid}/messages`, { to: '+49 151 87654321', text: 'Your parcel is on its way', ref: 'order-7' })
    assert.equal(sent.status, 200, JSON.stringify(sent))
    const message = await until('the message is sent', () => {
      const found = row('whatsapp_messages', `command_id = '${sent.body.command}'`)
      return found.outcome === 'succeeded' && Number(found.ack) >= 1 && found
    })
    await stage.far('read', { number: BERT, id: message.message_id })
    const read = await until('it is read', () => {
      const found = row('whatsapp_messages', "reference = 'order-7'")
      return Number(found.ack) === 3 && found
    })
    assert.deepEqual([read.outcome, read.direction, read.text], ['succeeded', 'out', 'Your parcel is on its way'])
    assert.deepEqual((await stage.far('sent')).sent.map(({ handed_in: handed, resent }) => handed - resent), [1])
  })

  await step('a listener hears what comes in and answers', async () => {
    await stage.far('receive', { number: ANNA, from: BERT, name: 'Bert', text: 'opening hours' })
    const answer = await until('the answer is sent', () => {
      const found = row('whatsapp_messages', "text = 'We are open from 9 to 17.'")
      return found && Number(found.ack) >= 1 && found
    })
    assert.equal(answer.direction, 'out')
    assert.equal(row('whatsapp_messages', "text = 'opening hours'").direction, 'in')
  })

  await step('an event that comes late changes nothing on the page', async () => {
    const channel = `private-workspace.${session.workspace_id}`
    const old = { ...session, epoch: 1, seq: 1, qr: 'an old QR', expires_at: '2099-01-01T00:00:00Z', sent_at: '2098-12-31T23:59:00Z', attempt: 1, max: 6 }
    pusher.send(channel, 'WhatsAppQRGenerated', JSON.stringify(old))
    pusher.send(channel, 'WhatsAppQRGenerated', JSON.stringify({ ...old, epoch: 99, session_id: 'of-somebody-else' }))
    await until('the page heard both', async () => (await pages.ines.evaluate(() => window.heard.filter(({ data }) => data?.qr === 'an old QR').length)) === 2)
    assert.equal(await text(pages.ines), `Linked with ${ANNA}`)
  })

  await step('a consumer that is ended in the middle loses nothing and doubles nothing', async () => {
    const before = count('whatsapp_messages', "direction = 'in'")
    let asked = 0
    for (let n = 0; n < BACKLOG; n++) {
      await stage.far('receive', { number: ANNA, from: BERT, name: 'Bert', text: `number ${n}` })
      if (n === 20 || n === 40) {
        assert.equal(await stop(consumer), 0)
        asked++
        await consume()
      }
    }
    await until('all came in', () => count('whatsapp_messages', "text LIKE 'number %'") >= BACKLOG)
    assert.equal(asked, 2)
    assert.equal(count('whatsapp_messages', "direction = 'in'") - before, BACKLOG)
    assert.equal(stage.sql("SELECT COUNT(DISTINCT text) AS n FROM whatsapp_messages WHERE text LIKE 'number %'")[0].n, BACKLOG)
    assert.equal(count('whatsapp_session_states', 'missing IS NOT NULL'), 0, 'no gap')
  })

  await step('while the database is away the consumer waits, and nothing is lost', async () => {
    assert.equal(await stop(consumer), 0)
    const line = await new Proxy(Number(stage.database.port)).listen()
    const { DB_PORT: direct } = stage.appEnvironment
    stage.appEnvironment.DB_PORT = String(line.port)
    await consume()
    await stage.far('receive', { number: ANNA, from: BERT, name: 'Bert', text: 'before the cut' })
    await until('it came in', () => count('whatsapp_messages', "text = 'before the cut'") === 1)
    line.cut()
    for (let n = 0; n < 5; n++) await stage.far('receive', { number: ANNA, from: BERT, name: 'Bert', text: `during the cut ${n}` })
    await until('the consumer notices', () => consumer.output.includes('the database is away'))
    line.mend()
    await until('all came in', () => count('whatsapp_messages', "text LIKE 'during the cut %'") === 5)
    assert.equal(count('whatsapp_session_states', 'missing IS NOT NULL'), 0)
    assert.equal(await stop(consumer), 0)
    stage.appEnvironment.DB_PORT = direct
    await consume()
    await line.close()
  })

  await step('what happens while the Pusher server is away is on the page when it is back', async () => {
    const { port } = pusher
    await pusher.close()
    await stage.shell(`php -r 'require "autoload.php"; $app = require "bootstrap/app.php"; $app->make(Illuminate\\Contracts\\Console\\Kernel::class)->bootstrap(); WhatsApp::session("${session.session_id}")->stop();'`)
    await until('the consumer heard of the end', () => row('whatsapp_session_states', `session_id = '${session.session_id}'`).status === 'stopped')
    assert.equal(await text(pages.ines), `Linked with ${ANNA}`, 'nobody told the page')
    pusher = await new Pusher({ ...app, port }).listen()
    await until('the page fetched what it missed', async () => (await text(pages.ines)) === 'stopped')
  })

  await step('whatsapp:check names a wrong key and a wrong clock', async () => {
    const [id] = stage.keys.commands.split(':')
    const [eventId] = stage.keys.events.split(':')
    const other = Buffer.alloc(32, 7).toString('base64')
    const faults = [
      [{ WHATSAPP_COMMAND_KEYS: `stranger:${other}` }, 'the fleet does not know the key this application signs with (stranger)'],
      [{ WHATSAPP_COMMAND_KEYS: `${id}:${other}` }, `the fleet has another secret under the id of our key (${id})`],
      [{ WHATSAPP_EVENT_KEYS: `${eventId}:${other}` }, `our secret of the fleet's key ${eventId} is another one`],
      [{ WHATSAPP_EVENT_KEYS: `stranger:${other}` }, `the fleet signs events with the key ${eventId}, which is not in our ring`],
      [{ CLOCK_AHEAD: '400' }, "clock is more than five minutes ahead of the fleet's"],
      [{ CLOCK_AHEAD: '-400' }, "clock is more than five minutes behind the fleet's"],
      [{ CLOCK_AHEAD: '60' }, "seconds ahead of the fleet's"],
    ]
    for (const [environment, words] of faults) {
      const output = await stage.shell('php artisan whatsapp:check', { expect: 1, ...environment })
      assert.ok(output.includes(words), `${words}\n${output}`)
    }
  })

  await step('nothing was left over', async () => {
    assert.equal(await stop(consumer), 0)
    await stage.shell('php artisan whatsapp:consume --stop-when-empty')
    const output = await stage.shell('php artisan whatsapp:check --offline')
    assert.ok(output.includes('shop.whatsapp has 0 events waiting, 0 consumers, 0 dead letters'), output)
    assert.equal(await stop(stage.worker), 0)
  })
  console.log(`all of it in ${((Date.now() - began) / 1000).toFixed(0)} s`)
} catch (error) {
  console.error(error)
  console.error(`logs: ${stage.logs}`)
  process.exitCode = 1
} finally {
  await browser?.close()
  await stopAll()
  await pusher.close()
  await stage.strike()
}
