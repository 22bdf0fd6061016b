// Steers the emulator. It is on loopback, past every proxy.
export async function call(method, path, body) {
  const response = await fetch(process.env.ENTRA_WORKLOAD_ADMIN_URL + path, {
    method,
    body: body && JSON.stringify(body),
  });
  if (!response.ok) {
    throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  }
  return response.status === 204 ? undefined : response.json();
}
