// The contract as files tell it: schemas and golden messages, in one structure. Nothing is written twice.
import { readdirSync, readFileSync } from 'node:fs'

const PROTOCOL = new URL('../', import.meta.url)
const read = (path) => readFileSync(new URL(path, PROTOCOL), 'utf8')

/** Links of Rust's documentation lead nowhere here: their text stays. */
const plain = (text) => text.replace(/\[(`?[^\]`]+`?)\]\([A-Za-z_:]+(?:\(\))?\)/g, '$1')

function withPlainText(schema) {
  if (Array.isArray(schema)) return schema.map(withPlainText)
  if (schema === null || typeof schema !== 'object') return schema
  return Object.fromEntries(Object.entries(schema).map(([name, value]) =>
    [name, name === 'description' && typeof value === 'string' ? plain(value) : withPlainText(value)]))
}

/** @returns {Array<{kind: 'command'|'event', type: string, version: number, schema: object, examples: Array<{name: string, text: string, body: object}>}>} */
export function messages() {
  return ['command', 'event'].flatMap((kind) => {
    const golden = readdirSync(new URL(`tests/golden/${kind}/`, PROTOCOL)).sort()
    return readdirSync(new URL(`schemas/${kind}/`, PROTOCOL)).sort().map((file) => {
      const [, type, version] = /^(.+)\.v(\d+)\.json$/.exec(file)
      // `message.send.json` and `message.send-to-group.json` are examples of `message.send`.
      const examples = golden.filter((name) => name === `${type}.json` || name.startsWith(`${type}-`)).map((name) => {
        const text = read(`tests/golden/${kind}/${name}`).trim()
        return { name: name.replace(/\.json$/, ''), text, body: JSON.parse(text) }
      })
      if (examples.length === 0) throw new Error(`${kind} ${type} has no golden message`)
      return { kind, type, version: Number(version), schema: withPlainText(JSON.parse(read(`schemas/${kind}/${file}`))), examples }
    })
  })
}

/** What a schema says when references are followed. */
export function resolved(schema, root) {
  if (!schema.$ref) return schema
  const target = root.$defs[schema.$ref.replace('#/$defs/', '')]
  return { ...resolved(target, root), ...(schema.description ? { description: schema.description } : {}) }
}

/** The words that a schema allows, with what each means: `[['sent', 'on WhatsApp's server'], …]`. */
export function words(schema) {
  if (schema.enum) return schema.enum.filter((word) => typeof word === 'string').map((word) => [word, ''])
  const choices = schema.oneOf ?? schema.anyOf ?? []
  return choices.flatMap((choice) => ('const' in choice ? [[choice.const, choice.description ?? '']] : words(choice)))
}

/** All words of a definition, wherever it occurs. */
export function vocabulary(name) {
  for (const { schema } of messages()) if (schema.$defs?.[name]) return words(schema.$defs[name])
  throw new Error(`no schema defines ${name}`)
}

export const statuses = () => vocabulary('SessionStatus')
export const acks = () => vocabulary('AckName')
export const errorCodes = () => vocabulary('ErrorCode')

export { PROTOCOL, read }
