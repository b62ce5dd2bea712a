/** A single hub, the real program, with a user who can log in. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { NAME, PASSWORD } from './login.ts';

export interface Hub {
  url: string;
  stop: () => Promise<void>;
}

/** Starts the `iotpi-hub` beside the demo that `IOTPI_DEMO` names, with these settings and an admin (`logIn`). */
export async function startHub(settings: string): Promise<Hub> {
  const demo = process.env.IOTPI_DEMO;
  if (!demo || demo === 'mock') throw new Error('IOTPI_DEMO has to name the iotpi-demo binary');
  const binary = join(dirname(demo), 'iotpi-hub');
  const data = await mkdtemp(join(tmpdir(), 'iotpi-hub-'));
  const config = join(data, 'hub.toml');
  await writeFile(config, `${settings}\n`);
  const result = spawnSync(binary, ['user', 'add', '--role', 'admin', '--password-stdin', NAME, '--data', data], {
    input: PASSWORD,
    encoding: 'utf8'
  });
  if (result.status !== 0) throw new Error(`no user was added: ${result.stderr}`);
  const child = spawn(binary, ['serve', '--listen', '127.0.0.1:0', '--data', data, '--config', config], {
    env: { ...process.env, RUST_LOG: 'error' },
    stdio: ['ignore', 'pipe', 'inherit']
  });
  return {
    url: await listening(child),
    stop: async () => {
      const exit = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGTERM')) await exit;
      await rm(data, { recursive: true, force: true });
    }
  };
}

function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the hub ended with ${code}`)));
    if (!child.stdout) return reject(new Error('no standard output'));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const url = /^iotpi-hub listening on (\S+)/.exec(line)?.[1];
      if (url) resolve(url);
    });
  });
}
