// The cluster as the node sees it that the control plane asks: nodes, shards, who leads them, and what is behind.

import { useEffect, useState } from 'preact/hooks'
import { all, get } from '../api'
import { useLoaded } from '../load'
import type { Cluster, Node, Shard } from '../shapes'
import { StateBadge, count } from '../ui/bits'
import { Show } from '../ui/loaded'
import { Page } from '../ui/page'
import { Table } from '../ui/table'

const REFRESH_MS = 3_000

async function read (signal: AbortSignal) {
  const [cluster, nodes, shards] = await Promise.all([
    get<Cluster>('/v1/cluster', undefined, signal),
    all<Node>('/v1/nodes', {}, signal),
    all<Shard>('/v1/shards', {}, signal)
  ])
  return { cluster, nodes, shards }
}

export function ClusterPage () {
  const seen = useLoaded(read, [])
  const [isFollowing, follow] = useState(true)
  useEffect(() => {
    if (!isFollowing) return
    // Not while nobody looks.
    const timer = setInterval(() => { if (!document.hidden) seen.reload() }, REFRESH_MS)
    return () => clearInterval(timer)
  }, [isFollowing])
  return (
    <Page
      title="Cluster"
      actions={
        <>
          <label class="check"><input type="checkbox" checked={isFollowing} onChange={() => follow(!isFollowing)} /> Refresh every {REFRESH_MS / 1000} seconds</label>
          <button onClick={seen.reload}>Refresh now</button>
        </>
      }
    >
      <Show of={seen}>
        {({ cluster, nodes, shards }) => (
          <>
            <dl class="tiles">
              <div><dt>Cluster</dt><dd>{cluster.name}</dd></div>
              <div class={cluster.nodes_up < cluster.nodes ? 'bad' : undefined}><dt>Nodes up</dt><dd>{cluster.nodes_up} of {cluster.nodes}</dd></div>
              <div class={cluster.shards_without_leader > 0 ? 'bad' : undefined}><dt>Shards without a leader</dt><dd>{cluster.shards_without_leader} of {shards.length}</dd></div>
              <div><dt>Catalogue version</dt><dd>{count(cluster.catalogue_version)}</dd></div>
            </dl>
            <section aria-labelledby="nodes">
              <h2 id="nodes">Nodes</h2>
              <Table
                caption="Nodes"
                rows={nodes}
                id={node => node.id}
                empty="None."
                columns={[
                  { name: 'Node', cell: node => node.id },
                  { name: 'State', cell: node => <StateBadge state={node.is_up ? 'up' : 'down'} /> },
                  { name: 'Leads shards', isNumber: true, cell: node => node.leads }
                ]}
              />
            </section>
            <section aria-labelledby="shards">
              <h2 id="shards">Shards</h2>
              <p class="quiet">The lag is what is committed and not yet applied, on the node that was asked.</p>
              <Table
                caption="Shards"
                rows={shards}
                id={shard => shard.id}
                empty="None."
                columns={[
                  { name: 'Shard', cell: shard => <>{shard.id}{shard.is_meta && ' (catalogue)'}</> },
                  { name: 'Leader', cell: shard => shard.leader === undefined ? <strong class="bad">none</strong> : `node ${shard.leader}` },
                  { name: 'Last entry', isNumber: true, cell: shard => count(shard.last) },
                  { name: 'Committed', isNumber: true, cell: shard => count(shard.committed) },
                  { name: 'Applied', isNumber: true, cell: shard => count(shard.applied) },
                  { name: 'Lag', isNumber: true, cell: shard => <Lag of={Math.max(0, shard.committed - shard.applied)} /> },
                  { name: 'Activity', cell: shard => shard.is_asleep ? <StateBadge state="asleep" /> : 'awake' }
                ]}
              />
            </section>
          </>
        )}
      </Show>
    </Page>
  )
}

function Lag ({ of }: { of: number }) {
  return of === 0 ? <>0</> : <strong class="bad">{count(of)}</strong>
}
