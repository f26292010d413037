// Transactions of Sui, made and signed by its own SDK: what ours reads must be what that wrote.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { resolve } = createRequire(process.argv[2] + '/package.json');
const load = (name) => import(pathToFileURL(resolve(name)).href);
const { Transaction } = await load('sui-2/transactions');
const { Ed25519Keypair } = await load('sui-2/keypairs/ed25519');

const key = Ed25519Keypair.fromSecretKey(new Uint8Array(32).fill(7));
const me = key.toSuiAddress();
const other = '0x' + '12'.repeat(32);
const coin = (n) => ({ objectId: '0x' + String(n).repeat(64), version: String(n), digest: '1'.repeat(32) });

function started(gas = 1) {
  const made = new Transaction();
  made.setSender(me);
  made.setGasPrice(1000);
  made.setGasBudget(5_000_000);
  made.setGasPayment([coin(gas)]);
  return made;
}

const made = { pay: started(), payAgain: started(9), call: started(), publish: started(), sponsored: started(), upgrade: started() };
for (const each of [made.pay, made.payAgain]) each.transferObjects([each.splitCoins(each.gas, [10_000_000])[0]], other);
made.call.moveCall({
  target: '0x2::pay::split',
  typeArguments: ['0x2::sui::SUI'],
  arguments: [made.call.objectRef(coin(2)), made.call.pure.u64(5)],
});
made.publish.transferObjects([made.publish.publish({ modules: [[1, 2, 3]], dependencies: ['0x1', '0x2'] })], me);
made.publish.setExpiration({ Epoch: 1234 });
made.sponsored.setGasOwner(other);
made.sponsored.moveCall({
  target: other + '::pool::swap',
  typeArguments: ['vector<u8>', '0x2::coin::Coin<0x2::sui::SUI>'],
  arguments: [
    made.sponsored.sharedObjectRef({ objectId: '0x6', initialSharedVersion: 1, mutable: false }),
    made.sponsored.pure.vector('u64', [1, 2]),
    made.sponsored.makeMoveVec({ elements: [made.sponsored.objectRef(coin(3))] }),
  ],
});
made.upgrade.upgrade({ modules: [[4, 5]], dependencies: ['0x1'], package: other, ticket: made.upgrade.objectRef(coin(4)) });

const found = { me };
for (const [name, each] of Object.entries(made)) {
  const data = await each.build();
  const { signature } = await key.signTransaction(data);
  found[name] = { data: Buffer.from(data).toString('base64'), digest: await each.getDigest(), signature };
}
console.log(JSON.stringify(found));
