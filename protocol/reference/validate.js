#!/usr/bin/env node
// Holds asyncapi.json against AsyncAPI's own parser, and every example in it against the schema it comes with.
import { Parser } from '@asyncapi/parser'
import Ajv from 'ajv'
import { read } from './contract.js'

const WARNING = 1

const { document, diagnostics } = await new Parser().parse(read('asyncapi.json'))
const problems = diagnostics.filter(({ severity }) => severity <= WARNING).map(({ code, message, path }) => `${path.join('.')}: ${message} (${code})`)

const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
let examples = 0
for (const message of document?.components().messages().all() ?? []) {
  const fits = ajv.compile(JSON.parse(JSON.stringify(message.payload().json(), (name, value) => (name.startsWith('x-parser-') ? undefined : value))))
  for (const example of message.examples()) {
    examples++
    if (!fits(example.payload())) problems.push(`${example.name()}: ${ajv.errorsText(fits.errors)}`)
  }
}

for (const problem of problems) console.error(problem)
const operations = document?.operations().all().length ?? 0
console.log(`asyncapi.json: ${operations} operations, ${examples} examples, ${problems.length} problems`)
process.exitCode = operations > 0 && examples > 0 && problems.length === 0 ? 0 : 1
