// SPDX-License-Identifier: Apache-2.0
// websocket.mjs server HOST PORT: a WebSocket echo (RFC 6455); frames come unmasked back as they came.
// websocket.mjs client HOST PORT: sends text and binary messages of many sizes and compares what comes back.
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';

const [mode, host, port] = process.argv.slice(2);
const accept = (key) => createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');

function frame(opcode, payload, mask) {
  const head = [0x80 | opcode];
  const bit = mask ? 0x80 : 0;
  if (payload.length < 126) head.push(bit | payload.length);
  else if (payload.length < 65536) head.push(bit | 126, payload.length >> 8, payload.length & 255);
  else {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(payload.length));
    head.push(bit | 127, ...length);
  }
  if (!mask) return Buffer.concat([Buffer.from(head), payload]);
  const masked = Buffer.from(payload.map((b, i) => b ^ mask[i % 4]));
  return Buffer.concat([Buffer.from(head), mask, masked]);
}

// frames calls back with each whole frame that a socket brings.
function frames(socket, first, found) {
  let data = first;
  const parse = () => {
    for (;;) {
      if (data.length < 2) return;
      let at = 2;
      let length = data[1] & 127;
      if (length === 126) {
        if (data.length < 4) return;
        length = data.readUInt16BE(2);
        at = 4;
      } else if (length === 127) {
        if (data.length < 10) return;
        length = Number(data.readBigUInt64BE(2));
        at = 10;
      }
      const masked = data[1] & 128;
      const mask = masked ? data.subarray(at, at + 4) : null;
      if (masked) at += 4;
      if (data.length < at + length) return;
      let payload = data.subarray(at, at + length);
      if (mask) payload = Buffer.from(payload.map((b, i) => b ^ mask[i % 4]));
      const opcode = data[0] & 15;
      data = data.subarray(at + length);
      found(opcode, payload);
    }
  };
  socket.on('data', (chunk) => {
    data = Buffer.concat([data, chunk]);
    parse();
  });
  parse();
}

if (mode === 'server') {
  const server = http.createServer((request, response) => response.writeHead(426).end());
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept(request.headers['sec-websocket-key'])}\r\n\r\n`);
    frames(socket, head, (opcode, payload) => {
      socket.write(frame(opcode, payload, null));
      if (opcode === 8) socket.end();
    });
  });
  server.listen(Number(port), host);
} else {
  const fail = (why) => {
    console.error(why);
    process.exit(1);
  };
  const key = randomBytes(16).toString('base64');
  const request = http.request({ host, port, path: '/', headers: {
    connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': key } });
  request.on('error', (e) => fail(e.message));
  request.on('response', (r) => fail(`status ${r.statusCode} instead of an upgrade`));
  request.on('upgrade', (response, socket, head) => {
    if (response.headers['sec-websocket-accept'] !== accept(key)) fail('another handshake was answered');
    const sizes = [0, 1, 125, 126, 65535, 65536, 300000, 5];
    const sent = sizes.map((n) => randomBytes(n));
    let i = 0;
    const next = () => socket.write(frame(i % 2 ? 1 : 2, sent[i], randomBytes(4)));
    frames(socket, head, (opcode, payload) => {
      if (opcode === 8) {
        console.log('ok');
        process.exit(0);
      }
      if (!payload.equals(sent[i])) fail(`message ${i} came back changed`);
      i += 1;
      if (i < sent.length) next();
      else socket.write(frame(8, Buffer.alloc(0), randomBytes(4)));
    });
    socket.on('close', () => fail('closed before the end'));
    next();
  });
  request.end();
}
