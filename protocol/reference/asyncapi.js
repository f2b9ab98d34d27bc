// The AsyncAPI 3 document: what the fleet receives and sends, told from the fleet's side.
import { messages } from './contract.js'

const HEADERS = {
  'x-wa-signature': ['`WA1=` and the HMAC-SHA256 of the canonical string in base64url without padding.', '^WA1=[A-Za-z0-9_-]{43}$'],
  'x-wa-key': ['The id of the key that signed.', '^[A-Za-z0-9._-]{1,64}$'],
  'x-wa-audience': ['Whom the message is meant for.'],
  'x-wa-workspace': ['The workspace, in decimal.', '^[1-9][0-9]{0,15}$'],
  'x-wa-session': ['The session.', '^[A-Za-z0-9_-]{1,64}$'],
  'x-wa-issued-at': ['When it was signed, in unix seconds.', '^(0|[1-9][0-9]*)$'],
  'x-wa-expires-at': ['After this it does nothing, in unix seconds; at most 30 days after it was signed.', '^(0|[1-9][0-9]*)$'],
}
const SESSION = { description: 'The session id: `[A-Za-z0-9_-]{1,64}`.' }
const WORKSPACE = { description: 'The workspace id, in decimal.' }

/** AsyncAPI's own schemas are JSON Schema draft 7: definitions move to the components, and a reference stands alone. */
function draft7(schema, type, definitions) {
  if (Array.isArray(schema)) return schema.map((part) => draft7(part, type, definitions))
  if (schema === null || typeof schema !== 'object') return schema
  const { $id, $schema, $defs, unevaluatedProperties, ...rest } = schema
  for (const [name, definition] of Object.entries($defs ?? {})) {
    const made = draft7(definition, type, definitions)
    if (definitions[name] && JSON.stringify(definitions[name]) !== JSON.stringify(made)) throw new Error(`${type} defines another ${name} than a message before it`)
    definitions[name] = made
  }
  const made = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, draft7(value, type, definitions)]))
  if (typeof made.$ref !== 'string') return made
  const { $ref, ...beside } = made
  const reference = { $ref: $ref.replace('#/$defs/', '#/components/schemas/') }
  return Object.keys(beside).length === 0 ? reference : { ...beside, allOf: [reference] }
}

function headers(audience) {
  const properties = Object.entries(HEADERS).map(([name, [description, pattern]]) =>
    [name, { type: 'string', description, ...(name === 'x-wa-audience' ? { const: audience } : { pattern }) }])
  return { type: 'object', properties: Object.fromEntries(properties), required: Object.keys(HEADERS) }
}

const exchange = (name, type) => ({ amqp: { is: 'routingKey', exchange: { name, type, durable: true, autoDelete: false }, bindingVersion: '0.3.0' } })
const reference = (to) => ({ $ref: `#/${to}` })

export function document() {
  const all = messages()
  const schemas = {}
  const parts = { messages: {}, channels: {}, operations: {} }
  for (const { kind, type, schema, examples } of all) {
    const id = `${kind}.${type}`
    parts.messages[id] = {
      name: type,
      title: type,
      summary: schema.properties.data.description ?? `The ${kind} ${type}.`,
      contentType: 'application/json',
      headers: reference(`components/schemas/${kind === 'command' ? 'CommandHeaders' : 'EventHeaders'}`),
      payload: draft7(schema, type, schemas),
      ...(kind === 'event' ? { correlationId: { description: 'The id of the command it follows from.', location: '$message.payload#/correlation_id' } } : {}),
      bindings: { amqp: { messageType: type, bindingVersion: '0.3.0' } },
      examples: examples.map(({ name, body }) => ({ name, payload: body })),
    }
  }
  const of = (kind) => all.filter((message) => message.kind === kind).map(({ type }) => type)
  const control = of('command').filter((type) => !type.startsWith('message.'))
  const lanes = of('command').filter((type) => type.startsWith('message.'))
  const channelMessages = (kind, types) => Object.fromEntries(types.map((type) => [type, reference(`components/messages/${kind}.${type}`)]))
  parts.channels.control = {
    address: 'control', title: 'Session control', description: 'Commands about sessions. Any worker reads them.',
    messages: channelMessages('command', control), bindings: exchange('wa.commands', 'direct'),
  }
  parts.channels.lane = {
    address: '{session}.{lane}', title: 'A lane of a session', description: 'Commands that the owner of the session executes, the sooner lane first.',
    parameters: { session: SESSION, lane: { description: 'How soon.', enum: ['urgent', 'high', 'normal', 'campaign'], default: 'normal' } },
    messages: channelMessages('command', lanes), bindings: exchange('wa.commands', 'direct'),
  }
  for (const type of of('event')) {
    parts.channels[type] = {
      address: `workspace.{workspace}.session.{session}.${type}`, title: type, description: 'Bind a queue of your own, for example to `workspace.7.#`.',
      parameters: { workspace: WORKSPACE, session: SESSION }, messages: channelMessages('event', [type]), bindings: exchange('wa.events', 'topic'),
    }
    parts.operations[`tell.${type}`] = {
      action: 'send', channel: reference(`channels/${type}`), summary: parts.messages[`event.${type}`].summary, messages: [reference(`channels/${type}/messages/${type}`)],
    }
  }
  for (const [channel, types] of [['control', control], ['lane', lanes]]) {
    for (const type of types) {
      parts.operations[`do.${type}`] = {
        action: 'receive', channel: reference(`channels/${channel}`), summary: parts.messages[`command.${type}`].summary,
        messages: [reference(`channels/${channel}/messages/${type}`)],
        bindings: { amqp: { deliveryMode: 2, mandatory: true, ack: true, bindingVersion: '0.3.0' } },
        reply: { channel: reference('channels/command.result'), messages: [reference('channels/command.result/messages/command.result')] },
      }
    }
  }
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'wafleet',
      version: '1.0.0',
      description: 'WhatsApp Web sessions: signed commands in, signed events out, over RabbitMQ. Made from `schemas/` and `tests/golden/`; the rule of the signature, exchanges and queues are in the README beside this file. Sizes in bytes, depth and unknown fields of commands are judged more strictly than a schema can say.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
      tags: [{ name: 'whatsapp' }, { name: 'rabbitmq' }],
    },
    defaultContentType: 'application/json',
    servers: {
      broker: {
        host: '{host}', protocol: 'amqps', protocolVersion: '0.9.1', description: 'The RabbitMQ virtual host of the fleet.',
        variables: { host: { description: 'Host and port.', default: 'localhost:5671' } },
      },
    },
    channels: parts.channels,
    operations: parts.operations,
    components: {
      messages: parts.messages,
      schemas: { CommandHeaders: headers('wa.commands'), EventHeaders: headers('wa.events'), ...Object.fromEntries(Object.entries(schemas).sort()) },
    },
  }
}
