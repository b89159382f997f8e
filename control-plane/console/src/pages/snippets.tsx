// The lines to paste, one protocol at a time.

import { useId, useState } from 'preact/hooks'
import { useKnown } from '../app'
import type { Permission } from '../shapes'
import { snippets } from '../snippets'
import { Copy } from '../ui/bits'

export function Snippets ({ secret, permissions }: { secret?: string, permissions: Permission[] }) {
  const { nodes } = useKnown()
  const [chosen, choose] = useState(0)
  const group = useId()
  const all = snippets(nodes[0] ?? 'https://highwater.example.com', permissions, secret)
  const shown = all[chosen]
  if (!shown) return null
  return (
    <fieldset class="snippets">
      <legend>Lines to paste</legend>
      <div class="choices">
        {all.map(({ name }, at) => (
          <label key={name}>
            <input type="radio" name={group} checked={at === chosen} onChange={() => choose(at)} />
            <span>{name}</span>
          </label>
        ))}
      </div>
      <pre tabIndex={0} aria-label={`${shown.name}: lines to paste`}>{shown.text}</pre>
      <Copy text={shown.text} what="Copy the lines" />
      {nodes.length === 0 && <p class="hint">The address is made up: <code>console.nodes</code> of the control plane’s configuration names none.</p>}
    </fieldset>
  )
}
