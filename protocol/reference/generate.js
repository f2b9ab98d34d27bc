#!/usr/bin/env node
// Writes asyncapi.json and REFERENCE.md; with --check it only says whether they are what the schemas and golden messages
// make, and whether the dictionary knows every word of the contract.
import { writeFileSync } from 'node:fs'
import { document } from './asyncapi.js'
import { PROTOCOL, acks, errorCodes, messages, read, statuses } from './contract.js'
import { page } from './page.js'

const made = { 'asyncapi.json': `${JSON.stringify(document(), null, 2)}\n`, 'REFERENCE.md': page() }
const problems = []

for (const [file, text] of Object.entries(made)) {
  if (!process.argv.includes('--check')) {
    writeFileSync(new URL(file, PROTOCOL), text)
  } else if (read(file) !== text) {
    problems.push(`${file} is not what the schemas make: run npm --prefix protocol/reference run generate`)
  }
}

const dictionary = read('DICTIONARY.md')
const contract = [...statuses(), ...acks(), ...errorCodes()].map(([word]) => word)
contract.push(...messages().filter(({ kind }) => kind === 'event').map(({ type }) => type))
for (const word of contract) {
  if (!dictionary.includes(`\n| \`${word}\` `)) problems.push(`DICTIONARY.md has no row for ${word}`)
}

for (const problem of problems) console.error(problem)
console.log(`reference: ${messages().length} messages, ${contract.length} words, ${problems.length} problems`)
process.exitCode = problems.length > 0 ? 1 : 0
