// Bundles the adapter, and with --tests the tests, into dist/.
import { readdirSync } from 'node:fs';
import { build } from 'esbuild';

const shared = { bundle: true, target: 'chrome120', logLevel: 'warning', charset: 'utf8' };

if (process.argv.includes('--tests')) {
  const tests = readdirSync('test').filter((name) => name.endsWith('.test.ts'));
  await build({
    ...shared,
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: 'dist/test',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    outExtension: { '.js': '.mjs' },
  });
} else {
  await build({
    ...shared,
    entryPoints: ['src/main.ts'],
    outfile: 'dist/adapter.js',
    // One file, one variable. wa-js becomes a function in it that runs when it is first required.
    format: 'iife',
    globalName: 'wafleetAdapter',
    // wa-js is written for sloppy mode, so the file as a whole must not be strict.
    tsconfigRaw: { compilerOptions: { alwaysStrict: false, strict: false } },
    minifyWhitespace: true,
    legalComments: 'eof',
  });
}
