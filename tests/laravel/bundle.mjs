// Single-file components and the package's composable, bundled for the browser with the packages of this directory.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { compileScript, parse } from 'vue/compiler-sfc'

const HERE = dirname(fileURLToPath(import.meta.url))

const singleFileComponents = {
  name: 'vue',
  setup(build) {
    build.onLoad({ filter: /\.vue$/ }, ({ path }) => {
      const { descriptor, errors } = parse(readFileSync(path, 'utf8'), { filename: path })
      if (errors.length > 0) throw errors[0]
      return { contents: compileScript(descriptor, { id: 'component', inlineTemplate: true }).content, loader: 'js', resolveDir: dirname(path) }
    })
  },
}

/** Bundles the page's entry with the component at `component`. */
export function bundle(component, outfile) {
  return build({
    entryPoints: [join(HERE, 'page.js')], outfile, bundle: true, format: 'iife', logLevel: 'error',
    nodePaths: [join(HERE, 'node_modules')], alias: { component }, plugins: [singleFileComponents],
    define: { 'process.env.NODE_ENV': '"production"', __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false' },
  })
}
