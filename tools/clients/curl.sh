#!/usr/bin/env bash
# curl against a webhook: bodies of many sizes, with and without keep-alive, declared, chunked and announced.
#
# Arguments: the URL of a webhook that answers at once, and of one that answers 201 {"reply":true}. Exit code 0: all
# was as it should be.
set -euo pipefail

quick=$1
replying=$2
limit=262144
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

expect() { # what, got, wanted
    if [ "$2" != "$3" ]; then
        echo "$1: expected $3, got $2" >&2
        exit 1
    fi
}

ask() { # arguments of curl; prints the status and the body
    curl --silent --show-error --max-time 20 --write-out ' %{http_code}' "$@"
}

for size in 0 1 1000 65536 262143 262144 262145; do
    body=$folder/$size
    head -c "$size" /dev/zero | tr '\0' x >"$body"
    wanted='{"success":true} 200'
    if [ "$size" -gt "$limit" ]; then wanted='{"error":"Content too large"} 413'; fi
    send=(--data-binary "@$body")
    expect "$size bytes" "$(ask "${send[@]}" -H 'Expect:' "$quick")" "$wanted"
    expect "$size bytes, announced" "$(ask "${send[@]}" -H 'Expect: 100-continue' "$quick")" "$wanted"
    expect "$size bytes, chunked" "$(ask "${send[@]}" -H 'Transfer-Encoding: chunked' "$quick")" "$wanted"
    expect "$size bytes, HTTP/1.0" "$(ask "${send[@]}" --http1.0 "$quick")" "$wanted"
    expect "$size bytes, closed" "$(ask "${send[@]}" -H 'Connection: close' "$quick")" "$wanted"
    # Three requests in one run of curl go over one connection where it stays.
    expect "$size bytes, thrice" "$(ask "${send[@]}" "$quick" "$quick" "$quick")" "$wanted$wanted$wanted"
    if [ "$size" -le "$limit" ]; then
        expect "$size bytes, a reply" "$(ask "${send[@]}" "$replying")" '{"reply":true} 201'
    fi
done

for method in GET DELETE PATCH PUT POST; do
    expect "$method" "$(ask --request "$method" "$quick")" '{"success":true} 200'
done
expect HEAD "$(ask --head --output "$folder/head" "$quick")" ' 200'
expect OPTIONS "$(ask --request OPTIONS "$quick")" ' 204'
connections=$(ask --output /dev/null --write-out '%{num_connects}' --output /dev/null "$quick" "$quick")
expect 'connections for two requests' "$connections" 10
echo 'curl: all as it should be'
