// Where the agent's daemon listens: the same rule as that of `sluice-agent`.

import { SluiceError } from "./errors.js";

// What a Unix address holds, without its end.
const MOST_PATH_BYTES = 107;

export interface Place {
  /** The agent's state folder, as `sluice-agent --state` has it. */
  state?: string | undefined;
  /** The daemon's socket itself, wherever it is. */
  socket?: string | undefined;
}

export function socketPath({ state, socket }: Place, environment: NodeJS.ProcessEnv = process.env): string {
  if (state !== undefined && socket !== undefined) {
    throw new SluiceError("usage", "give the state folder or the socket, not both");
  }
  const path = socket ?? `${state ?? defaultState(environment)}/agent.sock`;
  if (typeof path !== "string" || path.length === 0 || Buffer.byteLength(path) > MOST_PATH_BYTES) {
    throw new SluiceError("usage", `the socket path "${path}" must have 1 to ${MOST_PATH_BYTES} bytes`);
  }
  return path;
}

// $XDG_STATE_HOME/sluice-agent, or ~/.local/state/sluice-agent.
function defaultState(environment: NodeJS.ProcessEnv): string {
  const { XDG_STATE_HOME: xdg, HOME: home } = environment;
  if (xdg?.startsWith("/")) return `${xdg}/sluice-agent`;
  if (home?.startsWith("/")) return `${home}/.local/state/sluice-agent`;
  throw new SluiceError("usage", "neither XDG_STATE_HOME nor HOME is set; name the agent's state folder");
}
