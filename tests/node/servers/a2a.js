// Agent2Agent 1.0: an agent card and JSON-RPC, blocking and streaming. Its card names the address that callers use: `front`.
import { AGENT_CARD_PATH, Role, TaskState } from '@a2a-js/sdk';
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server';
import { agentCardHandler, jsonRpcHandler } from '@a2a-js/sdk/server/express';

import { makeApp } from './desk.js';

const part = (value) => ({ content: { $case: 'text', value }, metadata: undefined, filename: '', mediaType: 'text/plain' });

function card(front) {
  return {
    name: 'Beta',
    description: 'Repeats, and counts word by word',
    version: '1.0.0',
    supportedInterfaces: [{ url: `${front}/rpc`, protocolBinding: 'JSONRPC', tenant: '', protocolVersion: '1.0' }],
    provider: undefined,
    capabilities: { streaming: true, pushNotifications: false, extensions: [] },
    securitySchemes: {},
    securityRequirements: [],
    defaultInputModes: ['text/plain'],
    defaultOutputModes: ['text/plain'],
    skills: [{
      id: 'say', name: 'Say', description: 'Says it again', tags: ['echo'], examples: [], inputModes: [], outputModes: [], securityRequirements: [],
    }],
    signatures: [],
  };
}

// "echo TEXT" is answered by a message; anything else by a task with an artifact that grows word by word; "stay" never ends.
class Executor {
  constructor(desk) {
    this.desk = desk;
  }

  async execute(context, bus) {
    const { taskId, contextId, userMessage } = context;
    const text = userMessage.parts[0].content.value;
    if (text.startsWith('echo ')) {
      const value = `${context.context.user.userName} said: ${text.slice(5)}`;
      bus.publish(AgentEvent.message({
        messageId: 'answer', contextId, taskId: '', role: Role.ROLE_AGENT, parts: [part(value)], metadata: undefined, extensions: [],
        referenceTaskIds: [],
      }));
      bus.finished();
      return;
    }
    const status = (state) => ({ state, message: undefined, timestamp: undefined });
    bus.publish(AgentEvent.task({
      id: taskId, contextId, status: status(TaskState.TASK_STATE_SUBMITTED), artifacts: [], history: [userMessage], metadata: undefined,
    }));
    const [how, ...words] = text.split(' ');
    const gate = async () => how === 'freely' || this.desk.pass(how);
    await gate();
    bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: status(TaskState.TASK_STATE_WORKING), metadata: undefined }));
    await gate();
    for (const [i, word] of words.entries()) {
      bus.publish(AgentEvent.artifactUpdate({
        taskId, contextId, append: i > 0, lastChunk: i === words.length - 1, metadata: undefined,
        artifact: { artifactId: 'words', name: 'words', description: '', parts: [part(word)], metadata: undefined, extensions: [] },
      }));
      await gate();
    }
    bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: status(TaskState.TASK_STATE_COMPLETED), metadata: undefined }));
    bus.finished();
  }

  async cancelTask() {}
}

export function start(front) {
  const { app, desk } = makeApp();
  const requestHandler = new DefaultRequestHandler(card(front), new InMemoryTaskStore(), new Executor(desk));
  // Who calls is the agent's word, not the client's.
  const userBuilder = async (req) => ({ isAuthenticated: true, userName: req.headers['sluice-caller'] });
  app.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: requestHandler }));
  app.use('/rpc', jsonRpcHandler({ requestHandler, userBuilder }));
  return app;
}
