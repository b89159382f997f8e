// Uses the console in headless Chromium as somebody does who has no mouse: every step is Tab, a key or a text.
// It tells each step in a line, and takes pictures of the pages.
const assert = require('node:assert')
const { mkdirSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { Browser } = require('./cdp.cjs')

const control = process.env.HIGHWATER_CONTROL_PLANE
const node = process.env.HIGHWATER_SERVER
const operator = process.env.HIGHWATER_OPERATOR_KEY
const pictures = process.env.HIGHWATER_PICTURES
const axe = require.resolve('axe-core/axe.min.js')

const PHONE = { width: 360, height: 740 }
// What is still to be read without scrolling sideways (WCAG 2.2, 1.4.10).
const SMALL = { width: 320, height: 560 }
const DESK = { width: 1280, height: 860 }

async function main () {
  mkdirSync(pictures, { recursive: true })
  const browser = await Browser.open()
  const page = await browser.page()
  const secrets = [operator]
  await page.size(DESK)

  await page.go(`${control}/`)
  await page.sees('h1', 'Highwater')
  assert.strictEqual(await page.evaluate('location.pathname'), '/console/')
  await looks(page, 'sign-in')
  step('a credential that is none is refused, and the refusal can be asked about')
  assert.strictEqual(await page.focused(), 'Key or token')
  await page.type('hwa_nothing')
  await page.press('Enter')
  await page.sees('[role=alert]', /Request [0-9a-f]{32}/)
  await page.tabTo('Key or token')
  await page.empty()
  await page.type(operator)
  await page.press('Enter')
  await page.sees('h1', 'Tenants')

  step('a tenant')
  await page.tabTo('Create tenant')
  await page.opens('Create tenant')
  await page.press('Escape')
  await page.gone('dialog')
  assert.strictEqual(await page.focused(), 'Create tenant', 'the focus is back where it was')
  await page.opens('Create tenant')
  await page.type('acme')
  await page.press('Enter')
  await page.sees('h1', 'acme')
  assert.strictEqual(await page.focused(), 'acme', 'a new page has the focus at its heading')

  step('a name that is taken is refused in the dialog')
  await page.tabTo('Tenants')
  await page.press('Enter')
  await page.tabTo('Create tenant')
  await page.opens('Create tenant')
  await page.type('acme')
  await page.press('Enter')
  await page.sees('dialog [role=alert]', /acme|name/)
  await page.press('Escape')
  await looks(page, 'tenants')
  await page.tabTo('acme')
  await page.press('Enter')
  await page.sees('h1', 'acme')

  step('a project')
  await page.tabTo('Create project')
  await page.opens('Create project')
  await page.type('orders')
  await page.press('Enter')
  await page.sees('h1', 'orders')

  step('a key, whose secret is seen once')
  await page.tabTo('Create key')
  await page.opens('Create key')
  await page.type('reader')
  await looks(page, 'key-dialog')
  await page.press('Enter')
  await page.sees('.secret code', /^hw_/)
  const secret = await page.text('.secret code')
  secrets.push(secret)
  await looks(page, 'secret')
  for (const protocol of ['Server-sent events', 'WebSocket', 'gRPC', 'MQTT', 'highwater']) {
    if (protocol === 'Server-sent events') await page.tabTo('curl')
    await page.press('ArrowRight')
    await page.sees('.snippets pre', new RegExp(`HIGHWATER_KEY=${secret}`))
    assert.strictEqual(await page.focused(), protocol)
  }
  await page.press('Escape')
  await page.sees('.secret code', secret)
  await page.tabTo('Copy the secret')
  await page.press('Enter')
  await page.sees('.secret button', 'Copied')
  await page.tabTo('I have stored it')
  await page.press('Enter')
  await page.gone('dialog')
  await page.sees('td', 'reader')
  assert(!(await page.evaluate('document.documentElement.outerHTML')).includes(secret))
  const published = await fetch(`${node}/v1/messages/orders/1`, { method: 'POST', headers: { authorization: `Bearer ${secret}` }, body: 'by key' })
  assert.strictEqual(published.status, 201, 'the key opens the project')
  await looks(page, 'keys')

  step('the page is let in, and sees what it publishes')
  await page.tabTo('Live')
  await page.press('Enter')
  await page.tabTo('Follow')
  await page.press('Enter')
  await page.sees('.status', 'Refused')
  await page.tabTo('Allow this page')
  await page.press('Enter')
  await page.sees('.status', 'Following #')
  await page.tabTo('Topic')
  await page.empty()
  await page.type('orders/2')
  await page.tabTo('Payload')
  await page.empty()
  await page.type('{"total": 7}')
  await page.press('Enter', ['Control'])
  await page.sees('.publish .done', /Durable in orders\/2 at offset 0/)
  await page.sees('.lines li', /orders\/2.*\{"total": 7\}/s)
  await page.tabTo('Pause')
  await page.press(' ')
  await fetch(`${node}/v1/messages/orders/1`, { method: 'POST', headers: { authorization: `Bearer ${secret}`, 'content-type': 'text/plain' }, body: 'while it is paused' })
  await page.sees('.toolbar button', 'Go on (1 new)')
  assert.strictEqual(await page.count('.lines li'), 1)
  await page.press(' ')
  await page.sees('.lines li', /orders\/1.*while it is paused/s)
  await page.tabTo('Show only')
  await page.type('total')
  await page.sees('.counts', /2 received, 1 shown/)
  await page.tabTo(/orders\/2/)
  await page.press('Enter')
  await page.sees('.lines pre', /"total": 7/)
  await looks(page, 'live')

  step('all that is retained, from the beginning')
  await page.tabTo('From')
  await page.type('All')
  await page.tabTo('Follow anew')
  await page.press('Enter')
  await page.sees('.counts', /3 received/)

  step('a token that is made, and revoked')
  await page.tabTo('Tokens')
  await page.press('Enter')
  await page.tabTo('Make token')
  await page.opens('Make token')
  await page.tabTo('Make')
  await page.press('Enter')
  await page.sees('.secret code', /^eyJ/)
  const token = await page.text('.secret code')
  secrets.push(token)
  const id = await page.evaluate('/tok_[0-9a-f]{32}/.exec(document.querySelector("dialog").innerText)[0]')
  const read = () => fetch(`${node}/v1/messages?topic=%23`, { headers: { authorization: `Bearer ${token}` } })
  assert.strictEqual((await read()).status, 200)
  await page.tabTo('I have stored it')
  await page.press('Enter')
  await page.gone('dialog')
  await page.tabTo('Revoke')
  await page.opens('Revoke tokens')
  await page.tabTo('Token’s id')
  await page.type(id)
  await page.press('Enter')
  await page.sees('td', `token ${id}`)
  for (const begun = Date.now(); (await read()).status !== 401;) assert(Date.now() - begun < 10_000, 'the token is good no more')

  step('the other sections')
  for (const [name, heading] of [['Usage', 'Usage'], ['Topics', 'Topic policies'], ['Quotas', 'Quotas'], ['Tokens', 'Tokens'], ['Settings', 'Settings']]) {
    await page.tabTo(name)
    await page.press('Enter')
    await page.sees('main h2', heading)
    await page.settled()
    assert.strictEqual(await page.count('[role=alert]'), 0, await page.text('main'))
    await looks(page, `project-${name.toLowerCase()}`)
  }

  step('a project is suspended, and goes on')
  await page.tabTo('Suspend project')
  await page.opens('Suspend orders?')
  await page.tabTo('Suspend')
  await page.press('Enter')
  await page.sees('.badge', 'suspended')
  await page.tabTo('Resume project')
  await page.opens('Resume orders?')
  await page.tabTo('Resume')
  await page.press('Enter')
  await page.sees('.badge', 'active')

  step('the tenant’s sections')
  await page.tabTo('acme')
  await page.press('Enter')
  await page.sees('h1', 'acme')
  for (const [name, heading] of [['Members', 'Members'], ['Quotas', 'Quotas'], ['Usage', 'Usage'], ['Audit', /Changes/], ['Settings', 'Settings']]) {
    await page.tabTo(name, 'main')
    await page.press('Enter')
    await page.sees('main h2', heading)
    await page.settled()
    assert.strictEqual(await page.count('[role=alert]'), 0, await page.text('main'))
    await looks(page, `tenant-${name.toLowerCase()}`)
  }

  step('the cluster')
  await page.tabTo('Cluster')
  await page.press('Enter')
  await page.sees('h2', 'Shards')
  await page.sees('.badge', 'up')
  await looks(page, 'cluster')

  step('a tenant is suspended')
  await page.tabTo('Tenants')
  await page.press('Enter')
  await page.tabTo('Suspend acme')
  await page.opens('Suspend acme?')
  await page.tabTo('Suspend')
  await page.press('Enter')
  await page.sees('td .badge', 'suspended')

  step('a reload stays signed in, and signing out leaves nothing')
  await page.reload()
  await page.sees('h1', 'Tenants')
  await page.tabTo('Sign out')
  await page.press('Enter')
  await page.sees('button', 'Sign in')
  assert.strictEqual(await page.evaluate('sessionStorage.length'), 0)

  step('nobody else was asked for anything, and no address held a secret')
  for (const url of page.requests) {
    assert(url.startsWith(control) || url.startsWith(node) || url.startsWith('blob:'), url)
    assert(!secrets.some(secret => url.includes(secret)) && !/hwa?_[0-9a-zA-Z]{8}|eyJ/.test(url), url)
  }
  // A page that asks again and again would be one that never rests.
  assert(page.requests.length < 150, `${page.requests.length} requests`)
  // Chromium itself tells of answers that are refusals.
  const complaints = page.complaints.filter(text => !/the server responded with a status of 4\d\d/.test(text))
  assert.deepStrictEqual(complaints, [])
  await browser.close()
  console.log('ok')
}

function step (text) {
  console.log(text)
}

// What must be true of every page, in both themes and at both widths; and pictures of it.
async function looks (page, name) {
  for (const theme of ['light', 'dark']) {
    await page.theme(theme)
    await page.picture(join(pictures, `${name}-${theme}.png`))
    const violations = await page.violations(axe)
    assert.deepStrictEqual(violations, [], `${name}, ${theme}`)
  }
  await page.size(PHONE)
  await page.picture(join(pictures, `${name}-phone.png`))
  for (const size of [PHONE, SMALL]) {
    await page.size(size)
    const width = await page.evaluate('document.documentElement.scrollWidth')
    assert(width <= size.width, `${name} is ${width} pixels wide of ${size.width}`)
  }
  const dialog = await page.evaluate('(d => d ? d.scrollWidth - d.clientWidth : 0)(document.querySelector("dialog[open]"))')
  assert(dialog <= 0, `the dialog of ${name} scrolls sideways`)
  await page.theme('light')
  await page.size(DESK)
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
