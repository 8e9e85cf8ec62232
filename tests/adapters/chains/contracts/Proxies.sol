// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.5.17;

// A proxy whose implementation its owner replaces. Where its address is kept, and which event tells of it, is chosen at
// the start: EIP-1967, ZeppelinOS before it (USDC), Polygon's bridged tokens. The owner stands in slot 0, where TetherLike
// has its owner too, so that TetherLike works behind it.
contract Proxy {
    address private owner;
    bytes32 private constant PLACE = keccak256("chains.test.place");

    event Upgraded(address indexed implementation);
    event ProxyUpdated(address indexed _new, address indexed _old);

    constructor(bytes32 slot, address implementation) public {
        owner = msg.sender;
        store(PLACE, uint256(slot));
        store(slot, uint256(implementation));
    }

    function upgradeTo(address implementation) external {
        require(msg.sender == owner, "only the owner");
        bytes32 slot = bytes32(load(PLACE));
        address old = address(load(slot));
        store(slot, uint256(implementation));
        if (slot == keccak256("matic.network.proxy.implementation")) {
            emit ProxyUpdated(implementation, old);
        } else {
            emit Upgraded(implementation);
        }
    }

    // As an administrator who can write any place without a word.
    function upgradeSilently(address implementation) external {
        require(msg.sender == owner, "only the owner");
        store(bytes32(load(PLACE)), uint256(implementation));
    }

    function() external payable {
        address implementation = address(load(bytes32(load(PLACE))));
        assembly {
            calldatacopy(0, 0, calldatasize)
            let done := delegatecall(gas, implementation, 0, calldatasize, 0, 0)
            returndatacopy(0, 0, returndatasize)
            switch done
            case 0 { revert(0, returndatasize) }
            default { return(0, returndatasize) }
        }
    }

    function store(bytes32 place, uint256 value) private {
        assembly { sstore(place, value) }
    }

    function load(bytes32 place) private view returns (uint256 value) {
        assembly { value := sload(place) }
    }
}

// The same token as TetherLike for whoever asks it, and other code.
contract Replaced {
    string public constant symbol = "USDT";
    string public constant name = "Replaced test token";
    uint8 public constant decimals = 6;
    address private owner;
    uint256 private unused;
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    // Tells of a transfer that moves nothing.
    function transfer(address to, uint256 value) external {
        emit Transfer(msg.sender, to, value);
    }
}
