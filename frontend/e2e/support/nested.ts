/** The example program `nested`, which has the hub below `/iotpi/`. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readOutput, stopProcess, type System } from './system.ts';

export type NestedHub = Pick<System, 'url' | 'firstAdminCode'> & { stop: () => Promise<void> };

/** Starts the example beside the demo that `IOTPI_DEMO` names. */
export async function startNested(): Promise<NestedHub> {
  const binary = join(dirname(process.env.IOTPI_DEMO ?? ''), 'examples', 'nested');
  const data = await mkdtemp(join(tmpdir(), 'iotpi-nested-'));
  const child = spawn(binary, ['127.0.0.1:0', data], { stdio: ['ignore', 'pipe', 'inherit'] });
  const stop = async () => {
    await stopProcess(child);
    await rm(data, { recursive: true, force: true });
  };
  try {
    const [url, firstAdminCode] = await readOutput(child, [/^hub: (http:\S+)/, /^first admin code: (\S+)/]);
    return { url, firstAdminCode, stop };
  } catch (thrown) {
    await stop();
    throw thrown;
  }
}
