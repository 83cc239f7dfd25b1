// What clients share: gates of the servers (servers/desk.js), and events read as an EventSource would.

// Lets the server send its next event, or waits until it has got somewhere.
export const open = (base, gate) => ask(base, gate, 'POST');
export const pass = (base, gate) => ask(base, gate, 'GET');

async function ask(base, gate, method) {
  const response = await fetch(`${base}/gate/${gate}`, { method });
  if (response.status !== 204) throw new Error(`the gate answers ${response.status}: ${await response.text()}`);
}

// The data of each event of a response, as it comes.
export async function* eventsOf(response) {
  let text = '';
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      yield JSON.parse(lines.filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n'));
    }
  }
  if (text !== '') throw new Error(`the stream ends within an event: ${text}`);
}

// What it fails with, by name; null when it does not.
export async function failureOf(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return error;
  }
}

export async function json(response) {
  return { status: response.status, type: response.headers.get('content-type'), body: await response.json() };
}
