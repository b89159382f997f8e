// Chromium over its own protocol (CDP), with what a test of a page needs: keys, what has the focus, pictures, and what was
// asked of the network.
const assert = require('node:assert')
const { spawn } = require('node:child_process')
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const WebSocket = require('ws')

const DEADLINE_MS = 40_000
const TABS_MAX = 150

const KEYS = {
  Enter: { code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' },
  Tab: { code: 'Tab', windowsVirtualKeyCode: 9 },
  Escape: { code: 'Escape', windowsVirtualKeyCode: 27 },
  ArrowRight: { code: 'ArrowRight', windowsVirtualKeyCode: 39 },
  Backspace: { code: 'Backspace', windowsVirtualKeyCode: 8 },
  ' ': { code: 'Space', windowsVirtualKeyCode: 32, text: ' ' },
  a: { code: 'KeyA', windowsVirtualKeyCode: 65 }
}
const MODIFIERS = { Alt: 1, Control: 2, Shift: 8 }

class Browser {
  static async open () {
    const profile = mkdtempSync(join(tmpdir(), 'highwater-chromium-'))
    const process = spawn('chromium', [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'
    ], { stdio: ['ignore', 'ignore', 'pipe'] })
    // It must not outlive this script, however that ends.
    globalThis.process.on('exit', () => { process.kill('SIGKILL') })
    const address = await new Promise((resolve, reject) => {
      let said = ''
      process.stderr.on('data', data => {
        said += data
        const found = /DevTools listening on (ws:\S+)/.exec(said)
        if (found) resolve(found[1])
      })
      process.on('error', reject)
      process.on('exit', () => reject(new Error(`chromium has ended: ${said}`)))
    })
    const socket = new WebSocket(address, { perMessageDeflate: false })
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
    return new Browser(process, profile, socket)
  }

  constructor (process, profile, socket) {
    Object.assign(this, { process, profile, socket })
    this.waiting = new Map()
    this.listeners = []
    this.last = 0
    socket.on('message', data => {
      const message = JSON.parse(data)
      if (!message.id) return this.listeners.forEach(listener => listener(message))
      const { resolve, reject } = this.waiting.get(message.id)
      this.waiting.delete(message.id)
      message.error ? reject(new Error(message.error.message)) : resolve(message.result)
    })
  }

  send (method, params = {}, sessionId) {
    const id = ++this.last
    this.socket.send(JSON.stringify({ id, method, params, sessionId }))
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }))
  }

  async page () {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const page = new Page(this, sessionId)
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page.send(`${domain}.enable`)
    return page
  }

  async close () {
    const ended = new Promise(resolve => this.process.on('exit', resolve))
    await this.send('Browser.close')
    await ended
    rmSync(this.profile, { recursive: true, force: true })
  }
}

class Page {
  constructor (browser, session) {
    Object.assign(this, { browser, session })
    // Addresses that were asked for, and errors that the browser tells its developers of.
    this.requests = []
    this.complaints = []
    this.pending = new Set()
    browser.listeners.push(({ method, params, sessionId }) => {
      if (sessionId !== session) return
      if (method === 'Network.requestWillBeSent') {
        this.requests.push(params.request.url)
        this.pending.add(params.requestId)
      }
      if (method === 'Network.loadingFinished' || method === 'Network.loadingFailed') this.pending.delete(params.requestId)
      if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text)
      if (method === 'Log.entryAdded' && params.entry.level === 'error') this.complaints.push(params.entry.text)
    })
  }

  send (method, params) {
    return this.browser.send(method, params, this.session)
  }

  async evaluate (expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    assert(!exceptionDetails, exceptionDetails?.exception?.description)
    return result.value
  }

  go (url) {
    return this.send('Page.navigate', { url })
  }

  reload () {
    return this.send('Page.reload')
  }

  size ({ width, height }) {
    return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false })
  }

  theme (value) {
    return this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] })
  }

  async picture (path) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false })
    writeFileSync(path, Buffer.from(data, 'base64'))
  }

  // Waits until something is true in the page.
  async until (what, expression) {
    const deadline = Date.now() + DEADLINE_MS
    for (;;) {
      if (await this.evaluate(expression).catch(() => false)) return
      if (Date.now() > deadline) throw new Error(`it never came about that ${what}: ${await this.text('body')}`)
      await new Promise(resolve => setTimeout(resolve, 25))
    }
  }

  // Waits for an element with this text.
  sees (selector, text) {
    const is = text instanceof RegExp ? `${text}.test(text)` : `text === ${JSON.stringify(text)}`
    const expression = `[...document.querySelectorAll(${JSON.stringify(selector)})].some(e => { const text = e.innerText.trim(); return ${is} })`
    return this.until(`${selector} says ${text}`, expression)
  }

  // Enter opens a dialog.
  async opens (title) {
    await this.press('Enter')
    await this.sees('dialog[open] h2', title)
  }

  gone (selector) {
    return this.until(`${selector} is gone`, `!document.querySelector(${JSON.stringify(selector)})`)
  }

  // Waits until the page has what it asked for.
  settled () {
    return this.until('everything is read', '!/Reading…/.test(document.body.innerText)')
  }

  text (selector) {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText.trim()`)
  }

  count (selector) {
    return this.evaluate(`document.querySelectorAll(${JSON.stringify(selector)}).length`)
  }

  async press (key, modifiers = []) {
    const { text, ...event } = KEYS[key]
    const sum = modifiers.reduce((sum, name) => sum + MODIFIERS[name], 0)
    const down = { ...event, key, modifiers: sum }
    await this.send('Input.dispatchKeyEvent', { type: text && !sum ? 'keyDown' : 'rawKeyDown', ...down, ...(text && !sum && { text }) })
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...down })
  }

  // Types into what has the focus, letter by letter.
  async type (text) {
    for (const letter of text) await this.send('Input.dispatchKeyEvent', { type: 'char', text: letter })
  }

  // Empties the field that has the focus.
  async empty () {
    await this.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...KEYS.a, key: 'a', modifiers: 2, commands: ['selectAll'] })
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...KEYS.a, key: 'a', modifiers: 2 })
    await this.press('Backspace')
  }

  // What has the focus is called, as a screen reader would say.
  focused () {
    return this.evaluate(NAME)
  }

  // Goes on with Tab to what is called like this, within a part of the page if it is named.
  async tabTo (name, within = 'body') {
    const seen = []
    const wanted = name instanceof RegExp ? now => name.test(now) : now => now === name
    for (let tabs = 0; tabs < TABS_MAX; tabs++) {
      const now = await this.focused()
      const isWithin = await this.evaluate(`document.activeElement.closest(${JSON.stringify(within)}) !== null`)
      if (isWithin && wanted(now)) return
      seen.push(now)
      await this.press('Tab')
    }
    throw new Error(`nothing that Tab comes to is called ${name}: ${seen.join(' | ')}`)
  }

  // What axe finds against WCAG 2.2, A and AA, and against good practice.
  async violations (axe) {
    if (!await this.evaluate('"axe" in window')) await this.send('Runtime.evaluate', { expression: readFileSync(axe, 'utf8') })
    const found = await this.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ': ' + nodes.map(node => node.html.slice(0, 120) + ' ' + node.failureSummary).join(' | ')))`)
    return found
  }
}

// Near enough to how browsers name elements (Accessible Name and Description Computation).
const NAME = `(e => {
  const text = e => (e?.textContent ?? '').replace(/\\s+/g, ' ').trim()
  const own = e.getAttribute('aria-label')
  if (own) return own
  if (e.labels?.length) {
    const label = [...e.labels][0].cloneNode(true)
    label.querySelectorAll('input, select, textarea').forEach(control => control.remove())
    return text(label)
  }
  return text(e)
})(document.activeElement)`

module.exports = { Browser }
