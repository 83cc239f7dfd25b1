// Runs one client and prints what it found as one line of JSON.
//   clients.js NAME BASE    NAME: one of clients/; BASE: where the peer's server is at this host's agent
const [name, base] = process.argv.slice(2);
const { run } = await import(`./clients/${name}.js`);
console.log(JSON.stringify(await run(base)));
// With whatever is still open.
process.exit(0);
