// Builds the console into dist: two files that it minifies, and two that it copies. `--tests` builds the tests instead.
const { buildSync } = require('esbuild')
const { copyFileSync, mkdirSync, readFileSync } = require('node:fs')
const { dirname, join } = require('node:path')

// Browsers of the last two and a half years: `light-dark()` is what is newest of what the styles need.
const target = ['chrome123', 'firefox120', 'safari17.5']
const jsx = { jsx: 'automatic', jsxImportSource: 'preact' }

if (process.argv.includes('--tests')) {
  buildSync({ entryPoints: ['src/tests.ts'], outfile: 'tests.cjs', bundle: true, platform: 'node', format: 'cjs', ...jsx })
} else {
  mkdirSync('dist', { recursive: true })
  const minified = { bundle: true, minify: true, charset: 'utf8', legalComments: 'none', target }
  // Its license goes where it goes.
  const license = readFileSync(join(dirname(require.resolve('preact/package.json')), 'LICENSE'), 'utf8').trim()
  const banner = { js: `/*!\nHighwater, Apache-2.0. With Preact:\n\n${license}\n*/` }
  buildSync({ entryPoints: ['src/main.tsx'], outfile: 'dist/console.js', format: 'iife', banner, ...minified, ...jsx })
  buildSync({ entryPoints: ['src/style.css'], outfile: 'dist/console.css', ...minified })
  for (const name of ['index.html', 'icon.svg']) copyFileSync(`src/${name}`, `dist/${name}`)
}
