// SPDX-License-Identifier: Apache-2.0
// peer.mjs server HOST PORT: answers every request with the body that came.
// peer.mjs client URL...: sends bodies of many sizes on a kept connection and on new ones, and compares the answers.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';

const [mode, ...args] = process.argv.slice(2);

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

function exchange(agent, url, size) {
  const body = randomBytes(size);
  return new Promise((resolve, reject) => {
    const headers = { 'content-length': size };
    const request = http.request(url, { agent, method: 'POST', headers, timeout: 60_000 }, async (response) => {
      try {
        const got = await collect(response);
        if (response.statusCode !== 200 || !got.equals(body)) {
          throw new Error(`status ${response.statusCode}, ${got.length} bytes back, not the ${size} sent`);
        }
        resolve();
      } catch (error) {
        reject(error);
      }
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('no answer within 60 s')));
    request.end(body);
  });
}

function checkPeerName(url) {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || 80);
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, host, () => {
      const seen = `${socket.remoteAddress} ${socket.remotePort}`;
      socket.destroy();
      if (seen === `${host} ${port}`) resolve();
      else reject(new Error(`getpeername says ${seen}, connected to ${url.host}`));
    });
    socket.on('error', reject);
  });
}

if (mode === 'server') {
  http.createServer(async (request, response) => {
    const body = await collect(request);
    response.writeHead(200, { 'content-length': body.length, 'x-server': 'node' });
    response.end(body);
  }).listen(Number(args[1]), args[0]);
} else {
  for (const text of args) {
    const url = new URL(text);
    await checkPeerName(url);
    const kept = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 30; i++) await exchange(kept, url, (i * i * 1171) % 300_000);
    kept.destroy();
    for (let i = 0; i < 10; i++) await exchange(new http.Agent(), url, i * 977);
  }
  console.log('ok');
}
