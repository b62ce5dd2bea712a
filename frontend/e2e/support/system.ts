import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** A running hub with its modules. */
export interface System {
  url: string;
  firstAdminCode: string;
  /** Kills only the hub; resolves when it is gone. It restarts on the same address. */
  restartHub: () => Promise<void>;
  /** Kills the camera's module; resolves when its replacement has started. */
  killCamera: () => Promise<void>;
  /** Freezes the camera's module until the returned function is called; the mock has none. */
  freezeCamera: () => Promise<() => void>;
  /** Freezes the hub until the returned function is called; the mock cannot. */
  freezeHub: () => Promise<() => void>;
  /** Freezes the module of that name until the returned function is called; the mock has none. */
  freezeModule: (name: string) => Promise<() => void>;
  /** Ends all processes; resolves to the exit code. */
  stop: () => Promise<number | null>;
}

const START_MS = 45_000;
/** A graceful shutdown takes less than three seconds; after this time the process is killed. */
const END_MS = 8_000;

/**
 * Starts the hub and modules that `IOTPI_DEMO` names (the `iotpi-demo` binary), on a free port and with its
 * own data. `IOTPI_DEMO=mock` starts the mock hub instead, which only proves the pages.
 */
export async function startSystem(): Promise<System> {
  const demo = process.env.IOTPI_DEMO;
  if (!demo) throw new Error('IOTPI_DEMO is not set: it names the iotpi-demo binary, or is `mock`');
  return demo === 'mock' ? startMock() : startDemo(demo);
}

async function startDemo(binary: string): Promise<System> {
  const data = await mkdtemp(join(tmpdir(), 'iotpi-e2e-'));
  const child = spawn(binary, ['--listen', '127.0.0.1:0', '--data', data], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [url, firstAdminCode] = await readOutput(child, [/^hub: (http:\S+)/, /^first admin code: (\S+)/]);
    return {
      url,
      firstAdminCode,
      restartHub: async () => void process.kill(await processOf(child, 'iotpi-hub'), 'SIGKILL'),
      killCamera: async () => {
        const pid = await processOf(child, 'camera');
        process.kill(pid, 'SIGKILL');
        const another = () => processOf(child, 'camera').catch(() => pid);
        while ((await another()) === pid) await nextTurn();
      },
      freezeCamera: () => freezeProcess(child, 'camera'),
      freezeHub: () => freezeProcess(child, 'iotpi-hub'),
      freezeModule: (name) => freezeProcess(child, name),
      stop: async () => {
        const code = await stopProcess(child);
        await rm(data, { recursive: true, force: true });
        return code;
      }
    };
  } catch (thrown) {
    await stopProcess(child);
    await rm(data, { recursive: true, force: true });
    throw thrown;
  }
}

async function startMock(): Promise<System> {
  let child = mock('0', '1');
  try {
    const [firstAdminCode, url] = await readOutput(child, [/first admin code: (\S+)/, /Local:\s+(http:\S+?)\/?$/]);
    return {
      url,
      firstAdminCode,
      restartHub: async () => {
        await stopProcess(child);
        child = mock(new URL(url).port, '0');
      },
      killCamera: () => Promise.reject(new Error('the mock has no modules')),
      freezeCamera: () => Promise.reject(new Error('the mock has no modules')),
      freezeHub: () => Promise.reject(new Error('the mock is not a separate process')),
      freezeModule: () => Promise.reject(new Error('the mock has no modules')),
      stop: () => stopProcess(child)
    };
  } catch (thrown) {
    await stopProcess(child);
    throw thrown;
  }
}

/** Serves the built pages, as a hub does: a development server would reload the page when it is back. */
const mock = (port: string, firstAdmin: string): ChildProcess =>
  spawn(
    process.execPath,
    ['node_modules/vite/bin/vite.js', 'preview', '--mode', 'mock', '--strictPort', '--port', port],
    {
      env: { ...process.env, MOCK_FIRST_ADMIN: firstAdmin, MOCK_EXTRA: '0', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'inherit']
    }
  );

/** The process of the demo with that word in its command line; the demo restarts a process that ends. */
async function processOf(demo: ChildProcess, word: string): Promise<number> {
  const children = await readFile(`/proc/${demo.pid}/task/${demo.pid}/children`, 'utf8');
  for (const pid of children.split(' ').filter(Boolean)) {
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    if (words.some((one) => one.split(/[/.]/).includes(word))) return Number(pid);
  }
  throw new Error(`the demo has no process ${word}`);
}

/** Stops a process of the demo without ending it, until the returned function is called. */
async function freezeProcess(demo: ChildProcess, name: string): Promise<() => void> {
  const pid = await processOf(demo, name);
  process.kill(pid, 'SIGSTOP');
  return () => void process.kill(pid, 'SIGCONT');
}

/** Reads the standard output of the process until both patterns match; returns the first group of each. */
export async function readOutput(child: ChildProcess, patterns: [RegExp, RegExp]): Promise<[string, string]> {
  const found = new Map<RegExp, string>();
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${why}; output:\n${lines.join('\n')}`));
    const late = setTimeout(() => fail(`not ready after ${START_MS} ms`), START_MS);
    child.once('error', (error) => fail(error.message));
    child.once('exit', (code) => fail(`ended with ${code}`));
    if (!child.stdout) return fail('no standard output');
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      for (const pattern of patterns) {
        const value = pattern.exec(line.trim())?.[1];
        if (value) found.set(pattern, value);
      }
      const [first, second] = patterns.map((pattern) => found.get(pattern));
      if (first === undefined || second === undefined) return;
      clearTimeout(late);
      resolve([first, second]);
    });
  });
}

/** Ends the process; `null` when it had to be killed. */
export async function stopProcess(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  child.kill('SIGTERM');
  const killTimer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  return exit.finally(() => clearTimeout(killTimer));
}
