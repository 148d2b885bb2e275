//! What is asked of the gate.

/// An exchange of this for a worker token (RFC 8693), with these fields more.
macro_rules! exchange {
    ($subject:literal, $more:literal) => {
        concat!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=",
            $subject,
            "&subject_token_type=urn:ietf:params:oauth:token-type:access_token",
            $more
        )
    };
}

/// Start line without the version, header lines, body. In each of them
///
/// - `{canary}` is a new canary each time, `{basic}` one as the password of `Basic`, `{name}` one as its username;
/// - `{live}` is the secret of a token that stands, `{live-basic}` the same as the password of `Basic`;
/// - `{internal}` and `{legacy}` are the secrets of this machine's token and of an old one of llmux;
/// - `{signed-in}` is the secret of somebody's sign-in, while it lasts, and `{n}` another number each time.
pub(super) const REQUESTS: &[(&str, &str, &str)] = &[
    // Where a credential belongs.
    ("GET /api/whoami", "Authorization: Bearer {live}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {live-basic}\r\n", ""),
    ("GET /app/x", "Authorization: Bearer {live}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer fgt_{canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {basic}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {name}\r\n", ""),
    ("GET /api/whoami", "Authorization: Basic {canary}%%\r\n", ""),
    ("GET /api/whoami", "Authorization: {canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Digest username=\"{canary}\", response=\"{canary}\"\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {canary}\r\nAuthorization: Bearer {canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {live}, Bearer {canary}\r\n", ""),
    ("GET /app/x", "Authorization: Bearer {canary}\r\n", ""),
    ("GET /app/x", "Authorization: Basic {basic}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={canary}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={live}; __Host-fallgate=fgl_{canary}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={canary}; fallgate=\"{canary}\"; other={canary}\r\n", ""),
    ("GET /api/whoami", "Proxy-Authorization: Bearer {canary}\r\nFallgate-Token: {canary}\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={signed-in}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {signed-in}\r\n", ""),
    (
        "DELETE /api/logins",
        "Cookie: a={canary}; fallgate={signed-in}\r\nOrigin: http://{canary}.example\r\n",
        "",
    ),
    ("DELETE /api/logins/{canary}", "Cookie: fallgate={signed-in}\r\nSec-Fetch-Site: same-origin\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {internal}\r\n", ""),
    ("GET /app/x", "Authorization: Bearer {internal}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {internal}0\r\n", ""),
    ("GET /api/whoami", "Cookie: fallgate={internal}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer {legacy}\r\n", ""),
    ("GET /app/x", "Authorization: Bearer {legacy}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer sas_{canary}\r\n", ""),
    ("GET /api/whoami", "Authorization: Bearer sas_0123456789abcdef.{canary}\r\n", ""),
    // Addresses of llmux, opened in a browser.
    ("GET /s/7?token={legacy}", OPENED, ""),
    ("GET /s/7?token={legacy}0", OPENED, ""),
    ("GET /?token=sas_{canary}", OPENED, ""),
    ("GET /?token={live}", OPENED, ""),
    ("GET /?token={internal}", OPENED, ""),
    ("GET /?token={legacy}", "Sec-Fetch-Mode: navigate\r\nCookie: fallgate={canary}\r\n", ""),
    // Where none belongs.
    ("GET /api/whoami?token={canary}", "", ""),
    ("GET /api/whoami?token={live}", "", ""),
    ("GET /api/audit?user={canary}&limit={canary}", "", ""),
    ("GET /api/audit?before={canary}", "", ""),
    ("GET /app/x?token={canary}&access_token={canary}", "", ""),
    ("GET /nothing/{canary}?{canary}", "", ""),
    ("GET /app/a%2f{canary}", "", ""),
    // Inside of a path's segments, where browsers are sent to sign in and come back.
    ("GET /app/x;t={live}/y-{live}?a=b", "", ""),
    ("GET /app/token={live}", OPENED, ""),
    ("GET /cb/token={live}", OPENED, ""),
    ("GET /cb;{internal}/x", OPENED, ""),
    ("GET /cb/x-fgt_{canary}", OPENED, ""),
    ("GET /cb/x-sas%5F{canary}", OPENED, ""),
    ("GET /api/users/{canary}", "", ""),
    ("DELETE /api/users/{canary}", "", ""),
    ("DELETE /api/tokens/{canary}", "", ""),
    ("DELETE /api/tokens/{live}", "", ""),
    ("DELETE /api/tokens?username={canary}", "", ""),
    ("PATCH /api/tokens/{canary}", "", "{\"name\":\"x\"}"),
    ("PATCH /api/tokens/00000000-0000-7000-8000-000000000000", "", "{\"name\":[\"{canary}\"]}"),
    ("POST /api/whoami", "X-Api-Key: {canary}\r\n", "{canary}"),
    ("GET /health", "X-Auth: {canary}\r\nReferer: http://x.example/?t={canary}\r\n", ""),
    ("GET /api/version", "Origin: http://{canary}.example\r\nForwarded: for={canary}\r\n", ""),
    ("GET /.well-known/jwks.json?{canary}", "", ""),
    ("GET /api/openapi.json?token={live}", "", ""),
    ("GET /api/whoami", "X-Forwarded-For: {canary}\r\nX-Forwarded-Proto: {canary}\r\n", ""),
    // Bodies: as they should be, and as they should not.
    ("POST /api/tokens/inspect", "", "{\"token\":\"{live}\"}"),
    ("POST /api/tokens/inspect", "", "{\"token\":\"fgt_{canary}\"}"),
    ("POST /api/tokens/inspect", "", "{\"token\":{\"x\":\"{canary}\"}}"),
    ("POST /api/tokens/revoke", "", "{\"token\":\"{canary}\"}"),
    ("POST /api/tokens/revoke", "", "{\"token\":\"{live}\"}"),
    ("POST /api/tokens/revoke", "", "{\"token\":[\"{canary}\"]}"),
    ("POST /api/tokens/revoke", "", "{\"token\":{\"{canary}\":\"{canary}\"}}"),
    ("POST /api/tokens/revoke", "", "[\"{canary}\"]"),
    ("POST /api/tokens/revoke", "", "{canary}"),
    ("POST /api/tokens/revoke", "", "{\"token\":\"{canary}"),
    ("POST /api/tokens/revoke", "Content-Type: text/{canary}\r\n", "token={canary}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"username\":\"{canary}\"}"),
    ("POST /api/tokens", "", "{\"name\":{\"x\":\"{canary}\"}}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"expires_in\":\"{canary}\"}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"expires_at\":\"{canary}\"}"),
    ("POST /api/tokens", "", "{\"name\":\"x\",\"scopes\":\"{canary}\"}"),
    ("POST /api/users", "", "{\"username\":\"made-{n}\",\"passphrase\":\"otter {canary} canyon\"}"),
    ("POST /api/users", "", "{\"username\":\"ada\",\"passphrase\":\"otter {canary} canyon\"}"),
    ("POST /api/users", "", "{\"username\":\"made-{n}\",\"passphrase\":[\"{canary}\"]}"),
    (
        "POST /api/users",
        "",
        "{\"username\":\"made-{n}\",\"passphrase\":\"{canary} slate canyon\",\"role\":\"{canary}\"}",
    ),
    ("POST /api/users", "", "{\"username\":\"{canary}!\",\"passphrase\":\"{canary} slate canyon\"}"),
    ("POST /api/users/ada/passphrase", "", "{\"passphrase\":\"slate {canary} canyon\"}"),
    (
        "POST /api/users/ada/passphrase",
        "",
        "{\"passphrase\":\"slate {canary}\",\"revoke_tokens\":\"{canary}\"}",
    ),
    ("POST /api/users/nobody/passphrase", "", "{\"passphrase\":\"slate {canary} canyon\"}"),
    ("PATCH /api/users/ada", "", "{\"disabled\":\"{canary}\"}"),
    ("POST /app/x", "Content-Type: text/plain\r\n", "{canary}"),
    ("POST /api/login", "", "{\"username\":\"ada\",\"passphrase\":\"{canary}\"}"),
    ("POST /api/login", "", "{\"username\":\"{canary}\",\"passphrase\":\"x\"}"),
    (
        "POST /api/login",
        "Origin: http://{canary}.example\r\n",
        "{\"username\":\"ada\",\"passphrase\":\"{canary}\"}",
    ),
    ("POST /api/login", "", "{\"username\":[\"{canary}\"],\"passphrase\":\"{canary}\"}"),
    ("POST /api/login", "", "{\"username\":\"ada\",\"passphrase\":{\"x\":\"{canary}\"}}"),
    ("POST /api/login?passphrase={canary}", "", "username=ada&passphrase={canary}"),
    (
        "POST /api/login",
        "",
        "{\"username\":\"bob\",\"passphrase\":\"{passphrase}\",\"device_name\":\"phone\"}",
    ),
    (
        "POST /api/setup",
        "",
        "{\"setup_token\":\"{canary}\",\"username\":\"made-{n}\",\"passphrase\":\"slate {canary}\"}",
    ),
    ("POST /api/setup", "", "{\"setup_token\":[\"{canary}\"]}"),
    ("PATCH /api/tokens/{canary}", "", "{\"expires_at\":\"{canary}\"}"),
    ("PATCH /api/account", BY_PAGE, "{\"display_name\":{\"x\":\"{canary}\"}}"),
    ("POST /api/account/passphrase", BY_PAGE, "{\"current\":\"{canary}\",\"new\":\"slate {canary} canyon\"}"),
    (
        "POST /api/account/passphrase",
        BY_PAGE,
        "{\"current\":[\"{canary}\"],\"new\":\"slate {canary} canyon\"}",
    ),
    (
        "POST /api/account/passphrase",
        BY_PAGE,
        "{\"current\":\"{canary}\",\"new\":\"{canary}\",\"revoke_tokens\":1}",
    ),
    // OAuth's forms.
    ("POST /oauth/introspect", FORM, "token={live}&token_type_hint={canary}"),
    ("POST /oauth/introspect", FORM, "token={canary}&token={canary}"),
    ("POST /oauth/token", FORM, "grant_type={canary}&device_code={canary}&client_id={canary}"),
    (
        "POST /oauth/token",
        FORM,
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={canary}&client_id=x",
    ),
    ("POST /oauth/token", FORM, exchange!("{canary}", "")),
    ("POST /oauth/token", FORM, exchange!("fgt_{canary}", "")),
    ("POST /oauth/token", FORM, exchange!("{live}", "")),
    ("POST /oauth/token", FORM, exchange!("{internal}", "")),
    ("POST /oauth/token", FORM, exchange!("{legacy}", "")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&scope=routes:use&x={canary}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&scope={canary}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&audience={canary}&audience={live}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&agent={canary}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&agent={internal}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&expires_in={canary}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&requested_token_type={canary}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&actor_token={live}&resource={canary}")),
    ("POST /oauth/token", FORM, exchange!("{signed-in}", "&resource={canary}&{canary}={canary}")),
    ("POST /oauth/token", FORM, "subject_token={live}&subject_token={live}&subject_token_type={canary}"),
    ("POST /api/logout", "Cookie: fallgate={signed-in}\r\nOrigin: null\r\n", "{canary}"),
    ("POST /api/logout", BY_PAGE, "{canary}"),
    // What is no request, and what is more than one.
    ("{canary}", "", ""),
    ("GET /app/{canary} {canary}", "", ""),
    ("GET /app/x", "Bad Header {canary}: {canary}\r\n", ""),
    ("GET /app/x", "X-Folded: {canary}\r\n {canary}\r\n", ""),
    ("GET /app/x", "Host: {canary}.example\r\n", ""),
    ("POST /api/tokens/revoke", "Transfer-Encoding: chunked\r\n", "{canary}\r\n{canary}\r\n0\r\n\r\n"),
    (
        "GET /app/x",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: bearer, {canary}\r\n",
        "",
    ),
];

/// As a page of ours asks.
const BY_PAGE: &str = "Cookie: fallgate={signed-in}\r\nSec-Fetch-Site: same-origin\r\n";

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// As a browser asks for an address that somebody opens.
const OPENED: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nAccept: text/html\r\n";

/// The same while nobody is there and the gate waits for its first admin.
pub(super) const BEFORE_SETUP: &[(&str, &str, &str)] = &[
    ("GET /api/whoami", "Authorization: Bearer {canary}\r\n", ""),
    ("POST /api/login", "", "{\"username\":\"ada\",\"passphrase\":\"{canary}\"}"),
    (
        "POST /api/setup?setup_token={canary}",
        "",
        "{\"setup_token\":\"{canary}\",\"username\":\"ada\",\"passphrase\":\"slate {canary} canyon\"}",
    ),
    (
        "POST /api/setup",
        "",
        "{\"setup_token\":\"{setup}\",\"username\":\"{canary}\",\"passphrase\":\"slate {canary} canyon\"}",
    ),
    (
        "POST /api/setup",
        "",
        "{\"setup_token\":\"{setup}\",\"username\":\"ada\",\"passphrase\":{\"x\":\"{canary}\"}}",
    ),
    (
        "POST /api/setup",
        "",
        "{\"setup_token\":\"{setup}\",\"username\":\"root\",\"passphrase\":\"{passphrase}\"}",
    ),
];
