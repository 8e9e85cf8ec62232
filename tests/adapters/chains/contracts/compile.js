// Prints what the tests read of one source file; see README.md.
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const file = path.basename(process.argv[2]);
const input = {
  language: "Solidity",
  sources: { [file]: { content: fs.readFileSync(process.argv[2], "utf8") } },
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "istanbul",
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const error of output.errors || []) console.error(error.formattedMessage);
const contracts = {};
for (const [name, made] of Object.entries(output.contracts[file])) {
  contracts[name] = { bytecode: "0x" + made.evm.bytecode.object, abi: made.abi };
}
const compiler = "solc 0.5.17, optimizer 200 runs, istanbul";
console.log(JSON.stringify({ compiler, contracts }, null, 1));
