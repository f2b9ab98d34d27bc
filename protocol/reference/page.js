// The page for people: every message with its fields and one example.
import { messages, resolved, words } from './contract.js'

const cell = (text) => String(text ?? '').replace(/\s*\n\s*/g, ' ').replaceAll('|', '\\|')

function typeOf(schema) {
  if ('const' in schema) return `\`${JSON.stringify(schema.const)}\``
  const nullable = (schema.anyOf ?? []).some((choice) => choice.type === 'null') || [schema.type].flat().includes('null')
  const types = [schema.type ?? []].flat().filter((type) => type !== 'null' && !(type === 'array' && schema.maxItems === 0))
  return `${types.join(' or ') || 'one of'}${nullable ? ' or null' : ''}`
}

function limits(schema) {
  const said = []
  if (schema.minLength !== undefined || schema.maxLength !== undefined) said.push(`${schema.minLength ?? 0} to ${schema.maxLength ?? '…'} characters`)
  if (schema.minimum !== undefined || schema.maximum !== undefined) said.push(`${schema.minimum ?? '…'} to ${schema.maximum ?? '…'}`)
  return said.length > 0 ? ` (${said.join(', ')})` : ''
}

/** Rows of a table: a field with its path, what it may be, and what it means. */
function rows(schema, root, path, isRequired) {
  const real = resolved(schema, root)
  const choice = (real.anyOf ?? []).map((option) => resolved(option, root)).find((option) => option.type !== 'null')
  const shape = choice ? { ...choice, description: real.description ?? choice.description, anyOf: real.anyOf } : real
  const allowed = words(shape)
  const type = allowed.length > 0 ? allowed.map(([word]) => `\`${word}\``).join(' ') + ((real.anyOf ?? []).some((option) => option.type === 'null') ? ' or null' : '')
    : typeOf(choice ? { ...choice, anyOf: real.anyOf } : shape) + limits(shape)
  const own = [`| \`${path}\`${isRequired ? '' : ' ?'} | ${cell(type)} | ${cell(shape.description)} |`]
  if (path === 'data' && !shape.properties && shape.anyOf) return own
  return [...own, ...fields(shape, root, path)]
}

function fields(shape, root, path) {
  const found = []
  for (const part of [...(shape.oneOf ?? []).filter((option) => option.properties), shape]) {
    for (const [name, field] of Object.entries(part.properties ?? {})) {
      found.push(...rows(field, root, path === '' ? name : `${path}.${name}`, (part.required ?? []).includes(name)))
    }
  }
  return found
}

function section({ kind, type, schema, examples }) {
  const data = schema.properties.data
  const shape = resolved(data, schema)
  const table = fields(shape, schema, 'data')
  const [example, ...others] = [...examples].sort((a, b) => a.name.length - b.name.length)
  const more = others.map(({ name }) => `[${name.slice(type.length + 1)}](tests/golden/${kind}/${name}.json)`)
  return [
    `### ${type}`, '',
    ...(data.description ? [cell(data.description), ''] : []),
    ...(table.length > 0 ? ['| field | | |', '|---|---|---|', ...table, ''] : ['No data.', '']),
    '```json', example.text, '```', '',
    `[Schema](schemas/${kind}/${type}.v${schema.properties.version.const}.json)${more.length > 0 ? `. Other shapes: ${more.join(', ')}` : ''}.`, '',
  ]
}

export function page() {
  const all = messages()
  const list = (kind) => all.filter((message) => message.kind === kind)
  // A heading that occurs twice gets a number from whoever renders the page.
  const anchor = (kind, type) => type.replaceAll('.', '') + (kind === 'event' && list('command').some((message) => message.type === type) ? '-1' : '')
  const contents = (kind) => list(kind).map(({ type }) => `[${type}](#${anchor(kind, type)})`).join(' · ')
  return [
    '# Every message', '',
    'Made from the schemas and the golden messages by `npm --prefix protocol/reference run generate`; do not edit. The signature, the',
    'exchanges and what is promised about changes are on [the protocol\'s page](README.md), the names other libraries use in the',
    '[dictionary](DICTIONARY.md), the same for machines in [asyncapi.json](asyncapi.json).', '',
    'A question mark marks what may be left out. Moments are RFC 3339 in UTC.', '',
    `Commands: ${contents('command')}`, '',
    `Events: ${contents('event')}`, '',
    '## Commands', '', ...list('command').flatMap(section),
    '## Events', '', ...list('event').flatMap(section),
  ].join('\n').trimEnd() + '\n'
}
