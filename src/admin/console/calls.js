// How to call a webhook from where people call from: texts to be copied, which work as they are.

/** Pairs of a label and a text. */
export function snippets(webhook, url) {
  return webhook.isWebsocket ? socketSnippets(webhook, url) : httpSnippets(webhook, url);
}

/** The credentials as they can be written into a call; a template is resolved on the server, so a name stands for it. */
function credentials(webhook) {
  const { basicAuthUsername: name, basicAuthPassword: password } = webhook;
  if (name === "" && password === "") return null;
  const known = (text, otherwise) => (text.includes("{{") ? otherwise : text);
  return { name: known(name, "USER"), password: known(password, "PASSWORD") };
}

function httpSnippets(webhook, url) {
  const login = credentials(webhook);
  const curl = ["curl -i"];
  if (login) curl.push(`  -u ${quote(`${login.name}:${login.password}`)}`);
  curl.push("  -H 'Content-Type: application/json'", "  -d '{\"value\": 30}'", `  ${quote(url)}`);
  const auth = (text) => (login ? text : "");
  const signed = webhook.signature
    ? [["Signature", `# Requests must be signed (${webhook.signature.scheme}): the sender does it, or your code does.\n# A call without a signature gets a 401.`]]
    : [];
  return [
    ["curl", curl.join(" \\\n")],
    ["Python", `import requests

response = requests.post(
    ${python(url)},
    json={"value": 30},${auth(`
    auth=(${python(login?.name ?? "")}, ${python(login?.password ?? "")}),`)}
)
print(response.status_code, response.text)`],
    ["Node.js", `const response = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",${auth(`
    "Authorization": "Basic " + btoa(${JSON.stringify(`${login?.name}:${login?.password}`)}),`)}
  },
  body: JSON.stringify({ value: 30 }),
});
console.log(response.status, await response.text());`],
    ...signed,
  ];
}

function socketSnippets(webhook, url) {
  const login = credentials(webhook);
  const header = login ? `Basic ${btoa(unescape(encodeURIComponent(`${login.name}:${login.password}`)))}` : null;
  const browser = `const socket = new WebSocket(${JSON.stringify(url)});
socket.onopen = () => socket.send(JSON.stringify({ value: 30 }));
socket.onmessage = (event) => console.log("got", event.data);
socket.onclose = (event) => console.log("closed", event.code, event.reason);`;
  return [
    ["Browser", login ? `// Browsers cannot send the credentials that this webhook asks for; programs can.\n${browser}` : browser],
    ["Python", `import asyncio, websockets

async def main():
    async with websockets.connect(${python(url)}${header ? `, additional_headers={"Authorization": ${python(header)}}` : ""}) as socket:
        await socket.send('{"value": 30}')
        print(await socket.recv())

asyncio.run(main())`],
    ["Node.js", `import WebSocket from "ws";

const socket = new WebSocket(${JSON.stringify(url)}${header ? `, { headers: { Authorization: ${JSON.stringify(header)} } }` : ""});
socket.on("open", () => socket.send(JSON.stringify({ value: 30 })));
socket.on("message", (data) => console.log("got", String(data)));`],
    ["websocat", `websocat ${header ? `-H ${quote(`Authorization: ${header}`)} ` : ""}${quote(url)}`],
  ];
}

/** For a POSIX shell. */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A Python string; JSON's escapes are Python's too. */
function python(text) {
  return JSON.stringify(text);
}
