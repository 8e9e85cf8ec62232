// Prints TetherLike.json; see README.md.
const fs = require("fs");
const solc = require("solc");

const input = {
  language: "Solidity",
  sources: { "TetherLike.sol": { content: fs.readFileSync(process.argv[2], "utf8") } },
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "istanbul",
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const error of output.errors || []) console.error(error.formattedMessage);
const contracts = {};
for (const [name, made] of Object.entries(output.contracts["TetherLike.sol"])) {
  contracts[name] = { bytecode: "0x" + made.evm.bytecode.object, abi: made.abi };
}
const compiler = "solc 0.5.17, optimizer 200 runs, istanbul";
console.log(JSON.stringify({ compiler, contracts }, null, 1));
