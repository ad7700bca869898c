// Node's own server: prints `ready PORT`, serves until its standard input ends, and logs into the file TRUTH.
'use strict';
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');

const log = fs.openSync(process.env.TRUTH, 'a');
const content = (body) => ({ bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') });
const pairs = (raw) => Array.from({ length: raw.length / 2 }, (_, index) => [raw[index * 2], raw[index * 2 + 1]]);

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces);
    const parts = request.url.split('/');
    const name = parts.at(-1);
    let status = 404;
    let answer = Buffer.from('not here\n');
    if (parts[1] === 'get' || parts[1] === 'chunked') {
      status = 200;
      answer = Buffer.alloc(Number(parts[2]), name);
    } else if (parts[1] === 'echo') {
      status = 201;
      answer = Buffer.from(body).reverse();
    }
    response.statusCode = status;
    response.setHeader('X-Echo-Id', name);
    // Without a length, node sends chunks.
    if (parts[1] !== 'chunked') response.setHeader('Content-Length', answer.length);
    const head = request.method === 'HEAD';
    if (head) answer = Buffer.alloc(0);
    const half = Math.floor(answer.length / 2);
    if (half > 0) response.write(answer.subarray(0, half));
    response.end(answer.subarray(half));
    fs.writeSync(log, JSON.stringify({
      role: 'server',
      request: {
        method: request.method, target: request.url, headers: pairs(request.rawHeaders),
        body: { ...content(body), trailers: pairs(request.rawTrailers) },
      },
      response: { status, headers: null, body: content(answer) },
    }) + '\n');
  });
});
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
