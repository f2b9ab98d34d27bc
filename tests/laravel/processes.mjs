// Child processes that end with this one, and waiting for facts.
import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { once } from 'node:events'

export const PATIENCE_MS = 60_000
const BETWEEN_LOOKS_MS = 50

const running = new Set()

/** Starts a program. The kernel ends it when this process is gone, however that comes. */
export function start(name, command, { log, ...options }) {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  child.name = name
  child.output = ''
  const file = createWriteStream(log, { flags: 'a' })
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      child.output += data
      file.write(data)
    })
  }
  child.ended = once(child, 'close').then(([code, signal]) => {
    running.delete(child)
    file.end()
    return code ?? signal
  })
  running.add(child)
  return child
}

/** Runs a program to its end and returns its output; any other exit code than the expected one is an error. */
export async function run(name, command, { expect = 0, ...options }) {
  const child = start(name, command, options)
  const code = await child.ended
  if (code !== expect) throw new Error(`${name} ended with ${code} instead of ${expect}:\n${child.output}`)
  return child.output
}

/** Asks a program to end, and returns its exit code or signal. */
export async function stop(child, signal = 'SIGTERM') {
  if (running.has(child)) child.kill(signal)
  return child.ended
}

export async function stopAll() {
  await Promise.all([...running].reverse().map((child) => {
    const kill = setTimeout(() => child.kill('SIGKILL'), 15_000)
    return stop(child).finally(() => clearTimeout(kill))
  }))
}

/** Waits until `look` returns something, and returns it. */
export async function until(what, look, patience = PATIENCE_MS) {
  const end = Date.now() + patience
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`${what}: not within ${patience / 1000} s`)
    const dead = [...running].find((child) => child.exitCode !== null)
    if (dead) throw new Error(`${what}: meanwhile ${dead.name} ended with ${dead.exitCode}:\n${dead.output.slice(-2000)}`)
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_LOOKS_MS))
  }
}
