export { Agent, type AgentOptions } from "./agent.js";
export { Body, type Payload } from "./body.js";
export { CallResult, type CallOptions } from "./calls.js";
export { AbortError, CallError, SluiceError, type ErrorCode } from "./errors.js";
export { Message, type Messages, type MessagesOptions } from "./messages.js";
export type { AgentInfo, CallRecord, CallState, Capability, Peer, Peers, Protocol, Right, Terms, WaitingTrust } from "./records.js";
export { CallFailure, type Caller, type Handler, type ServedCall, type ServeOptions, type Server, type ServerState } from "./serving.js";
export type { ApproveOptions, PendingTrust, TrustAnswered, TrustAsked, TrustEnded, TrustWish, Visibility } from "./trust.js";
