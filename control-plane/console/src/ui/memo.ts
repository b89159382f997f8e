// A component that is drawn again only when it is given something else.

import { Component, type ComponentChildren, h } from 'preact'

export function memo<P extends object> (draw: (props: P) => ComponentChildren) {
  return class Memo extends Component<P> {
    override shouldComponentUpdate (next: Readonly<P>) {
      const before = this.props as Record<string, unknown>
      return Object.entries(next).some(([name, value]) => name !== 'children' && before[name] !== value)
    }

    override render () {
      return h(draw as never, this.props as never)
    }
  }
}
