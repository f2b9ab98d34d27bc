#!/usr/bin/env node
// The figures of one PHP process; see protocol/laravel/tests/bench.php. Runs inside `wafleet-services run`.
import { spawnSync } from 'node:child_process'
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Pusher } from './pusher.mjs'

if (isMainThread) {
  // The server has a thread of its own, for this one waits.
  const server = new Worker(new URL(import.meta.url))
  const [port] = await once(server, 'message')
  const environment = { ...process.env, REVERB_APP_KEY: 'key', REVERB_APP_SECRET: 'secret', REVERB_APP_ID: 'app', REVERB_URL: `http://127.0.0.1:${port}` }
  const { status } = spawnSync('php', [fileURLToPath(new URL('../../protocol/laravel/tests/bench.php', import.meta.url))], { stdio: 'inherit', env: environment })
  await server.terminate()
  process.exitCode = status ?? 1
} else {
  const { port } = await new Pusher({ id: 'app', key: 'key', secret: 'secret' }).listen()
  parentPort.postMessage(port)
}
