// What the control plane answers with: the shapes of its description (/v1/openapi.json) that the console uses.

export interface Page<T> { items: T[], next?: string }

export type State = 'active' | 'suspended' | 'deleting'

export interface Quotas {
  publish_messages_per_second?: number
  publish_bytes_per_second?: number
  delivery_messages_per_second?: number
  delivery_bytes_per_second?: number
  connections?: number
  subscriptions?: number
  topics?: number
  stored_bytes?: number
  payload_bytes?: number
}

interface Dated { created_at: string, updated_at: string }

export interface Tenant extends Dated { id: string, name: string, state: State, quotas: Quotas, labels: Record<string, string> }

export interface Project extends Tenant { tenant: string, spread: number, origins: string[], expires_at?: string }

export type Role = 'viewer' | 'editor' | 'owner'

export interface Member extends Dated { id: string, subject: string, role: Role }

export type Operation = 'publish' | 'subscribe' | 'manage'

export interface Permission { operations: Operation[], topics: string }

export interface ApiKey extends Dated {
  id: string
  name: string
  permissions: Permission[]
  disabled: boolean
  hint: string
  expires_at?: string
  previous_secret_until?: string
}

export interface ApiKeyWithSecret extends ApiKey { secret: string }

export interface Token { token: string, id: string, subject?: string, permissions: Permission[], issued_at: string, expires_at: string }

export interface Revocation {
  id: string
  token_id?: string
  subject?: string
  all?: boolean
  issued_before?: string
  forgotten_at: string
  created_at: string
}

export interface TopicPolicy {
  filter: string
  retention_ms?: number
  retention_bytes?: number
  retention_records?: number
  last_value?: boolean
  must_exist?: boolean
}

export interface AuditEntry {
  id: string
  at: string
  actor: string
  from: string
  action: string
  resource: string
  request: string
  before?: unknown
  after?: unknown
}

export interface Traffic { messages_in: number, bytes_in: number, messages_out: number, bytes_out: number, connection_minutes: number }

export interface Used extends Traffic {
  start: string
  peak_connections: number
  stored_bytes: number
  protocols: Record<string, Traffic>
}

/** One item for each hour or day, whether or not anything was used in it. */
export interface Usage { items: Used[] }

export interface Cluster {
  name: string
  nodes: number
  nodes_up: number
  shards: number
  shards_without_leader: number
  catalogue_version: number
}

export interface Node { id: number, is_up: boolean, leads: number }

export interface Shard { id: number, is_meta: boolean, leader?: number, last: number, committed: number, applied: number, is_asleep: boolean }

/** What the page is told where it comes from: addresses that browsers reach nodes by. */
export interface Settings { nodes: string[] }
