'use strict';
// Reads forms with busboy: `node busboy.cjs FOLDER` reads a JSON array of {contentType, body} (body in base64) from its
// standard input and prints an array of {parts} or {error}. FOLDER holds node_modules with busboy.
const fs = require('node:fs');
const path = require('node:path');
const busboy = require(path.join(path.resolve(process.argv[2]), 'node_modules', 'busboy'));

function read({ contentType, body }) {
  return new Promise((resolve) => {
    const parts = [];
    let form;
    try {
      form = busboy({
        headers: { 'content-type': contentType },
        // As browsers write them since RFC 7578, and whole.
        defParamCharset: 'utf8',
        preservePath: true,
        limits: { fieldNameSize: 1e6, fieldSize: 1e6 },
      });
    } catch (error) {
      return resolve({ error: String(error.message) });
    }
    const base64 = (buffer) => buffer.toString('base64');
    form.on('field', (name, value) => parts.push({ name: name ?? '', text: base64(Buffer.from(value)) }));
    form.on('file', (name, stream, { filename, encoding, mimeType }) => {
      const part = { name: name ?? '', filename: filename ?? null, encoding, type: mimeType };
      parts.push(part);
      const pieces = [];
      stream.on('data', (piece) => pieces.push(piece));
      stream.on('error', () => {});
      stream.on('close', () => { part.data = base64(Buffer.concat(pieces)); });
    });
    form.on('error', (error) => resolve({ error: String(error.message) }));
    form.on('close', () => setImmediate(() => resolve({ parts })));
    form.end(Buffer.from(body, 'base64'));
  });
}

(async () => {
  const cases = JSON.parse(fs.readFileSync(0, 'utf8'));
  const answers = [];
  for (const one of cases) answers.push(await read(one));
  process.stdout.write(JSON.stringify(answers));
})();
