// One virtual host, one database, a fleet with one worker and the imitation of WhatsApp Web, and a fresh Laravel application.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { tmpdir } from 'node:os'
import { run, start, until } from './processes.mjs'

const ROOT = resolve(fileURLToPath(new URL('.', import.meta.url)), '../..')
const env = (name) => process.env[name] ?? fail(`${name} is not set: run this by \`make test\`, or inside wafleet-services run`)
const fail = (text) => { throw new Error(text) }

export class Stage {
  static async set() {
    const stage = new Stage()
    stage.name = `laravel-e2e-${process.pid}`
    stage.bin = join(resolve(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target')), 'debug')
    stage.logs = join(env('WAFLEET_TEST_DIR'), 'logs', stage.name)
    stage.work = mkdtempSync(join(tmpdir(), `${stage.name}-`))
    mkdirSync(stage.logs, { recursive: true })
    const database = new URL(env('WAFLEET_TEST_DATABASE_URL'))
    stage.databaseName = stage.name.replaceAll('-', '_')
    stage.database = database
    stage.amqp = `${env('WAFLEET_TEST_AMQP_URL')}/${stage.name}`
    await stage.api('PUT', `vhosts/${stage.name}`, {})
    await stage.api('PUT', `permissions/${stage.name}/${new URL(env('WAFLEET_TEST_MANAGEMENT_URL')).username}`, { configure: '.*', write: '.*', read: '.*' })
    stage.sql(`CREATE DATABASE ${stage.databaseName} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`, false)
    return stage
  }

  async strike() {
    await this.api('DELETE', `vhosts/${this.name}`)
    this.sql(`DROP DATABASE ${this.databaseName}`, false)
    rmSync(this.work, { recursive: true, force: true })
  }

  /** RabbitMQ's management API. */
  async api(method, path, body) {
    const url = new URL(env('WAFLEET_TEST_MANAGEMENT_URL'))
    const authorization = `Basic ${Buffer.from(`${url.username}:${url.password}`).toString('base64')}`
    const answer = await fetch(`http://${url.host}/api/${path}`, {
      method, headers: { authorization, 'content-type': 'application/json' }, body: body && JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.headers.get('content-type')?.includes('json') ? answer.json() : null
  }

  /** Rows of a statement. */
  sql(statement, inside = true) {
    const { hostname, port, username, password } = this.database
    const code = `$pdo = new PDO("mysql:host=${hostname};port=${port};charset=utf8mb4${inside ? `;dbname=${this.databaseName}` : ''}", '${username}', '${password}');
      $result = $pdo->query(stream_get_contents(STDIN)); echo json_encode($result->columnCount() ? $result->fetchAll(PDO::FETCH_ASSOC) : []);`
    return JSON.parse(execFileSync('php', ['-r', code], { input: statement, encoding: 'utf8' }))
  }

  /** The fleet: keys, tables, the far end and one worker. */
  async fleet() {
    const keyring = join(this.work, 'keyring.json')
    const profiles = join(this.work, 'profile-keys.json')
    const wafleet = join(this.bin, 'wafleet')
    const log = join(this.logs, 'fleet.log')
    await run('keys', [wafleet, 'keys', 'generate', '--out', keyring], { log })
    await run('profile keys', [wafleet, 'keys', 'profile-generate', '--out', profiles], { log })
    this.keys = Object.fromEntries(JSON.parse(readFileSync(keyring, 'utf8')).keys.map((key) => [key.role, `${key.id}:${key.secret}`]))

    const far = start('imitation', [join(this.bin, 'imitation'), '--port', '0'], { log: join(this.logs, 'imitation.log') })
    this.site = await until('the imitation says its address', () => far.output.match(/http:\/\/127\.0\.0\.1:\d+\//)?.[0])

    const database = new URL(this.database)
    database.pathname = `/${this.databaseName}`
    const foreign = Object.keys(process.env).filter((name) => name.startsWith('WAFLEET_'))
    const environment = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.includes(name))),
      WAFLEET_AMQP_URL: this.amqp, WAFLEET_REDIS_URL: env('WAFLEET_TEST_REDIS_URL'), WAFLEET_REDIS_PREFIX: this.name,
      WAFLEET_DATABASE_URL: database.href, WAFLEET_KEYRING_FILE: keyring, WAFLEET_PROFILE_KEYS_FILE: profiles,
      WAFLEET_PROFILE_ROOT: join(this.work, 'profiles'), WAFLEET_RUNTIME_DIR: join(this.work, 'runtime'), WAFLEET_WORKER_ID: 'w1',
      WAFLEET_CHROMIUM_SANDBOX: process.getuid() === 0 ? 'off' : 'required', WAFLEET_SITE_URL: this.site, WAFLEET_CLAIM_INTERVAL_MS: '200',
      // A number that was linked just now may send two messages a minute.
      WAFLEET_MESSAGES_PER_MINUTE: '100000', WAFLEET_MESSAGES_PER_HOUR: '1000000', WAFLEET_MESSAGES_PER_DAY: '1000000',
      WAFLEET_COLD_CONTACTS_PER_DAY: '1000000', WAFLEET_NUMBER_CHECKS_PER_HOUR: '1000000', WAFLEET_CONTACT_MESSAGES_PER_MINUTE: '100000', WAFLEET_WARM_UP_DAYS: '0', WAFLEET_TYPING_CHARS_PER_SECOND: '0',
      WAFLEET_SYNC_AFTER_LINKING: 'off',
    }
    mkdirSync(join(this.work, 'runtime'), { mode: 0o700 })
    await run('wafleet migrate', [wafleet, 'migrate', 'up'], { log, env: environment })
    this.worker = start('worker', [wafleet, 'worker'], { log: join(this.logs, 'worker.log'), env: environment })
    await until('the fleet declares its exchanges', async () =>
      (await this.api('GET', `exchanges/${this.name}?columns=name`)).some(({ name }) => name === 'wa.events'))
  }

  /** Asks the far end for something. */
  async far(verb, fields = {}) {
    const answer = await fetch(`${this.site}control/${verb}`, { method: 'POST', body: JSON.stringify(fields), headers: { 'content-type': 'application/json' } })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`control/${verb}: ${answer.status} ${text}`)
    return text === '' ? null : JSON.parse(text)
  }

  /** A copy of the small application, as a developer finds it before installing anything, beside the repository. */
  application(settings) {
    this.app = join(this.work, 'shop')
    cpSync(join(ROOT, 'protocol/laravel/tests/application'), this.app, { recursive: true })
    symlinkSync(ROOT, join(this.work, 'wafleet'))
    // Debian brings Laravel where Composer would.
    const composer = JSON.parse(readFileSync(join(this.app, 'composer.json'), 'utf8'))
    composer.repositories = [{ 'packagist.org': false }]
    composer.provide = { ...Object.fromEntries(['broadcasting', 'console', 'contracts', 'database', 'support'].map((name) => [`illuminate/${name}`, '8.83.26'])), 'php-amqplib/php-amqplib': '3.5.3' }
    writeFileSync(join(this.app, 'composer.json'), JSON.stringify(composer))
    this.appEnvironment = {
      ...process.env, COMPOSER_ALLOW_SUPERUSER: '1', COMPOSER_HOME: join(this.work, 'composer'), APP_STORAGE: join(this.work, 'storage'),
      DB_HOST: this.database.hostname, DB_PORT: this.database.port, DB_USERNAME: this.database.username, DB_PASSWORD: this.database.password,
      DB_DATABASE: this.databaseName, ...settings,
    }
  }

  /** Runs a command of the application. */
  shell(line, { expect = 0, ...environment } = {}) {
    return run(line, ['sh', '-c', line], { log: join(this.logs, 'shop.log'), cwd: this.app, env: { ...this.appEnvironment, ...environment }, expect })
  }

  /** Starts a command of the application that goes on. */
  serve(name, command) {
    return start(name, command, { log: join(this.logs, `${name}.log`), cwd: this.app, env: this.appEnvironment })
  }

  get repository() {
    return ROOT
  }
}
