// Node's http with the package `retry`: `retry.js ADDRESS PATH...`, all paths at once.

const http = require("http");
const retry = require("/usr/share/nodejs/retry");

const [address, ...paths] = process.argv.slice(2);

function ask(path) {
  const operation = retry.operation({ retries: 4, minTimeout: 80, factor: 2, randomize: false });
  return new Promise((resolve, reject) => {
    operation.attempt(() => {
      const failed = (error) => operation.retry(error) || reject(operation.mainError());
      http
        .get(`http://${address}${path}`, { agent: false }, (response) => {
          response.resume();
          response.on("end", () => (response.statusCode === 200 ? resolve() : failed(new Error("failed"))));
        })
        .on("error", failed);
    });
  });
}

console.log("ready");
process.stdin.once("data", async () => {
  await Promise.allSettled(paths.map(ask));
  console.log("done");
});
process.stdin.on("end", () => process.exit(0));
