// A client on Node's fetch: `client.js ADDRESS TASKS EACH`. Prints `ready`, waits for `go`, prints `done`.
'use strict';
const { createHash } = require('node:crypto');
const fs = require('node:fs');

const [address, tasks, each] = process.argv.slice(2);
const log = fs.openSync(process.env.TRUTH, 'a');
const content = (body) => ({ bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') });

async function exchange(method, path, body, stream) {
  const options = { method, headers: { 'user-agent': 'truth/1' } };
  if (stream) {
    options.body = new ReadableStream({
      start(controller) {
        for (const piece of stream) controller.enqueue(Buffer.from(piece));
        controller.close();
      },
    });
    options.duplex = 'half';
  } else if (body) {
    options.body = body;
  }
  const response = await fetch(`http://${address}${path}`, options);
  const answer = Buffer.from(await response.arrayBuffer());
  fs.writeSync(log, JSON.stringify({
    role: 'client',
    request: { method, target: path, headers: null, body: content(Buffer.from(stream ? stream.join('') : body ?? '')) },
    response: { status: response.status, headers: null, body: content(answer) },
  }) + '\n');
}

async function work(task) {
  for (let number = 0; number < each; number += 1) {
    const name = `n${task}-${number}`;
    if (number % 5 === 0) await exchange('GET', `/get/${number * 13}/${name}`);
    else if (number % 5 === 1) await exchange('POST', `/echo/${name}`, name.repeat(number));
    else if (number % 5 === 2) await exchange('GET', `/chunked/${number * 11}/${name}`);
    else if (number % 5 === 3) await exchange('POST', `/echo/${name}`, null, ['first,', name, ',last']);
    else await exchange('GET', `/status/503/${name}`);
  }
}

console.log('ready');
process.stdin.once('data', async () => {
  await Promise.all(Array.from({ length: Number(tasks) }, (_, task) => work(task)));
  console.log('done');
});
process.stdin.on('end', () => process.exit(0));
