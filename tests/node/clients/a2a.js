import { Role, TaskState } from '@a2a-js/sdk';
import { ClientFactory } from '@a2a-js/sdk/client';

import { failureOf, open } from './common.js';

const message = (text) => ({
  tenant: '',
  message: {
    messageId: crypto.randomUUID(), contextId: '', taskId: '', role: Role.ROLE_USER, metadata: undefined, extensions: [], referenceTaskIds: [],
    parts: [{ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: 'text/plain' }],
  },
  configuration: undefined,
  metadata: undefined,
});

const words = (artifact) => artifact.parts.map((p) => p.content.value);

function told({ payload }) {
  switch (payload.$case) {
    case 'task':
      return ['task', TaskState[payload.value.status.state]];
    case 'statusUpdate':
      return ['status', TaskState[payload.value.status.state]];
    case 'artifactUpdate':
      return ['artifact', ...words(payload.value.artifact)];
    default:
      return [payload.$case];
  }
}

export async function run(base) {
  const client = await new ClientFactory().createFromUrl(`${base}/`);
  const card = await client.getAgentCard();
  const out = { name: card.name, endpoint: card.supportedInterfaces[0].url };
  out.echo = words(await client.sendMessage(message('echo good morning')));
  const task = await client.sendMessage(message('freely one two three'));
  out.task = [TaskState[task.status.state], task.artifacts.map(words)];
  const again = await client.getTask({ tenant: '', id: task.id });
  out.again = [TaskState[again.status.state], again.artifacts.map(words)];
  out.unknown = (await failureOf(client.getTask({ tenant: '', id: 'no-such-task' })))?.name;

  out.events = [];
  for await (const event of client.sendMessageStream(message('gated one two three'))) {
    out.events.push(told(event));
    await open(base, 'gated');
  }

  // One that leaves after the first event.
  const leave = new AbortController();
  out.left = [];
  const failure = await failureOf((async () => {
    for await (const event of client.sendMessageStream(message('stay forever'), { signal: leave.signal })) {
      out.left.push(told(event));
      leave.abort();
    }
  })());
  out.failure = failure?.name;
  return out;
}
