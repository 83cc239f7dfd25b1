// The agent bench's server: Node's own http module. /small answers with 1 KB, /bulk?n=N with N bytes.
import http from "node:http";

const small = Buffer.alloc(1024, "s");
const piece = Buffer.alloc(1 << 18, "b");

const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  const url = new URL(request.url, "http://server");
  if (url.pathname !== "/bulk") {
    response.setHeader("Content-Length", small.length);
    response.end(small);
    return;
  }
  let left = Number(url.searchParams.get("n"));
  response.setHeader("Content-Length", left);
  const more = () => {
    while (left > 0) {
      const part = left < piece.length ? piece.subarray(0, left) : piece;
      left -= part.length;
      if (!response.write(part)) {
        response.once("drain", more);
        return;
      }
    }
    response.end();
  };
  more();
});
server.listen(Number(process.argv[2] ?? 0), process.argv[3] ?? "127.0.0.1", () => console.log(server.address().port));
