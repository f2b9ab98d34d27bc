// The steps of the package's README, taken from its text: files to write, lines to append, commands to run.
import { readFileSync } from 'node:fs'

const FENCE = /^```(\w+)(?: (file|append)=(\S+))?\n(.*?)^```$/gms

/** @returns {Array<{kind: 'file'|'append'|'run', path?: string, text: string}>} in the order of the text */
export function steps(path, heading) {
  const text = readFileSync(path, 'utf8')
  const from = text.indexOf(`\n## ${heading}\n`)
  if (from < 0) throw new Error(`${path} has no section ${heading}`)
  const to = text.indexOf('\n## ', from + 1)
  const found = []
  for (const [, language, action, file, block] of text.slice(from, to).matchAll(FENCE)) {
    if (action) found.push({ kind: action, path: file, text: block })
    else if (language === 'sh') found.push(...block.trim().split('\n').map((line) => ({ kind: 'run', text: line })))
  }
  return found
}
