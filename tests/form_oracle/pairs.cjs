'use strict';
// Reads a JSON array of strings from its standard input and prints, for each, the pairs that URLSearchParams reads.
const fs = require('node:fs');

// As the URL Standard begins: the text is encoded as UTF-8. Node.js 20 does not, where an escape stands beside.
const encoded = (text) => text.replace(/[^\x00-\x7f]+/gu, encodeURIComponent);
const texts = JSON.parse(fs.readFileSync(0, 'utf8')).map(encoded);
// The constructor takes one question mark away.
process.stdout.write(JSON.stringify(texts.map((text) => [...new URLSearchParams(`?${text}`)])));
