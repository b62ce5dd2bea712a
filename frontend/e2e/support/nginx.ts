/** An nginx for one test, on free ports. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

export interface Proxy {
  /** The URL of each `server`, in their order. */
  urls: string[];
  stop: () => Promise<void>;
}

const PATHS = ['/usr/sbin/nginx', '/usr/bin/nginx'];

/** Starts an nginx with a `server` for each of these bodies. */
export async function startNginx(servers: string[]): Promise<Proxy> {
  const binary = PATHS.find((path) => existsSync(path));
  if (!binary) throw new Error('no nginx: apt-get install nginx-light');
  const folder = await mkdtemp(join(tmpdir(), 'iotpi-nginx-'));
  const ports = await freePorts(servers.length);
  const blocks = servers.map((body, at) => `server { listen 127.0.0.1:${ports[at]}; ${body} }`);
  const scratch = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`
  );
  await writeFile(
    join(folder, 'nginx.conf'),
    `worker_processes 1; daemon off; pid ${folder}/pid; error_log ${folder}/error.log warn;
     events { worker_connections 128; }
     http {
       access_log off; ${scratch.join(' ')}
       map $http_upgrade $connection_upgrade { default upgrade; '' close; }
       ${blocks.join('\n')}
     }`
  );
  const child = spawn(binary, ['-p', folder, '-e', `${folder}/error.log`, '-c', join(folder, 'nginx.conf')], {
    stdio: 'inherit'
  });
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const stop = async () => {
    await stopProcess(child);
    await rm(folder, { recursive: true, force: true });
  };
  while (!(await responds(urls[0]))) {
    if (child.exitCode !== null) {
      await stop();
      throw new Error('nginx did not start');
    }
    await nextTurn();
  }
  return { urls, stop };
}

const responds = (url: string | undefined): Promise<boolean> =>
  fetch(url ?? '').then(
    () => true,
    () => false
  );

/** Free ports. All are taken before one is released, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const listeners = Array.from({ length: count }, () => createServer());
  for (const listener of listeners) {
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  }
  const ports = listeners.map((listener) => (listener.address() as { port: number }).port);
  for (const listener of listeners) await new Promise((resolve) => listener.close(resolve));
  return ports;
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await exit;
}
